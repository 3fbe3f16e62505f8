//! Logins at registries: parsing, checks, and secrecy.

use super::*;

const LOGINS: &str = "registryAuth:\n  r.example:5000: {username: robot, password: hunter2}\n  docker.io:\n    username: me\n    passwordFile: /run/secrets/hub\n  localhost: {username: you, passwordEnv: TOKEN}";

#[test]
fn logins_at_registries_are_read_and_not_shown() {
    let config = Config::parse(
        &format!("{SMALL}{LOGINS}\ndockerConfig: /etc/docker.json\n"),
        env(&[("TOKEN", "hunter3"), ("ATQ_REGISTRY_AUTH", "hunter4")]),
    )
    .unwrap();
    let of = |host: &str| {
        let login = config.registry_auth.get(host).unwrap();
        (login.username.as_str(), login.password.clone())
    };
    let text = |secret: &str| Password::Text(atq_engine_swarm::registry::Secret::new(secret));
    assert_eq!(of("r.example:5000"), ("robot", text("hunter2")));
    assert_eq!(
        of("docker.io"),
        ("me", Password::File("/run/secrets/hub".into()))
    );
    assert_eq!(of("localhost"), ("you", text("hunter3")));
    assert_eq!(config.docker_config, Some("/etc/docker.json".into()));
    let shown = format!("{config:?}");
    assert!(
        shown.contains("robot") && !shown.contains("hunter"),
        "{shown}"
    );
}

#[test]
fn faults_of_logins_do_not_show_values() {
    let text = message(
        "registryAuth:\n  \
         https://r.example/v2: {username: robot, password: hunter2}\n  \
         team: {username: robot, password: hunter2}\n  \
         index.docker.io: {username: robot, password: hunter2}\n  \
         a.example: {username: robot, pasword: hunter2}\n  \
         b.example: {password: 31337}\n  \
         c.example: {username: robot, password: hunter2, passwordEnv: hunter2}\n  \
         d.example: hunter2\n  \
         e.example: {username: robot, passwordEnv: hunter2}\n  \
         f.example: {username: robot, password: [hunter2]}\n  \
         g.example:\n  \
         h.example: {username: '', password: ''}",
    );
    assert!(
        !text.contains("hunter2") && !text.contains("31337"),
        "{text}"
    );
    assert_snapshot!(text, @r"
    the configuration has 15 faults
      `registryAuth[https://r.example/v2]` (line 4) must be a registry as images name it, like `registry.example.com:5000` or `docker.io`: did you mean `r.example`?
      `registryAuth[team]` (line 5) must be a registry as images name it, like `registry.example.com:5000` or `docker.io`
      `registryAuth[index.docker.io]` (line 6) is Docker Hub: did you mean `docker.io`?
      `registryAuth[a.example]` (line 7) needs one of `password`, `passwordFile`, `passwordEnv`
      `registryAuth[a.example].pasword` (line 7) is unknown: did you mean `registryAuth[a.example].password`?
      `registryAuth[b.example]` (line 8) needs a `username`
      `registryAuth[b.example].password` (line 8) must be text: quote the value
      `registryAuth[c.example]` (line 9) has more than one of `password`, `passwordFile`, `passwordEnv`
      `registryAuth[c.example].passwordEnv` (line 9) refers to a variable that is not set
      `registryAuth[d.example]` (line 10) must be a mapping with `username` and a password
      `registryAuth[e.example].passwordEnv` (line 11) refers to a variable that is not set
      `registryAuth[f.example].password` (line 12) must be text
      `registryAuth[g.example]` (line 13) must be a mapping with `username` and a password
      `registryAuth[h.example].username` (line 14) must not be empty
      `registryAuth[h.example].password` (line 14) must not be empty
    ");
    for wrong in ["registryAuth: hunter2", "registryAuth: [hunter2]"] {
        let expected = "`registryAuth` (line 3) must be a mapping of registries to logins";
        assert!(message(wrong).ends_with(expected), "{}", message(wrong));
    }
}

#[test]
fn invalid_yaml_at_a_password_does_not_show_it() {
    for password in [
        "*hunter2",
        "&hunter2",
        "!hunter2 x",
        "@hunter2",
        "'hunter2",
        "%hunter2",
        "{hunter2",
    ] {
        let text = with(&format!(
            "registryAuth:\n  r.example: {{username: x, password: {password}}}"
        ));
        let shown = text.map_or_else(|e| e.to_string(), |config| format!("{config:?}"));
        assert!(!shown.contains("hunter2"), "{password}: {shown}");
    }
}

#[test]
fn configured_files_must_exist() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.yaml");
    for (key, more) in [
        ("dockerConfig", "dockerConfig: /nonexistent/config.json"),
        (
            "registryAuth[r.example].passwordFile",
            "registryAuth: {r.example: {username: x, passwordFile: /nonexistent/password}}",
        ),
    ] {
        fs::write(&path, format!("{SMALL}{more}\n")).unwrap();
        let error = Config::load(Some(&path)).unwrap_err().to_string();
        let expected = format!("`{key}` cannot be used: `/nonexistent/");
        assert!(error.contains(&expected), "{error}");
    }
}

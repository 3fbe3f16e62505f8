#![allow(clippy::unwrap_used)]

mod exchange;
mod logins;

use insta::assert_snapshot;

use super::*;

const SMALL: &str = "port: 8080\nglusterpath: /srv/bundles\n";

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(text, |_| None)
}

fn with(more: &str) -> Result<Config, ConfigError> {
    parse(&format!("{SMALL}{more}\n"))
}

fn message(more: &str) -> String {
    with(more).unwrap_err().to_string()
}

fn env<'a>(set: &'a [(&str, &str)]) -> impl Fn(&str) -> Option<String> + 'a {
    |name| {
        set.iter()
            .find(|(n, _)| *n == name)
            .map(|(_, v)| (*v).to_owned())
    }
}

#[test]
fn smallest_file_has_the_documented_defaults() {
    let config = parse(SMALLEST).unwrap();
    let expected = Config {
        port: 8080,
        glusterpath: "/var/lib/atq/bundles".into(),
        bind: "127.0.0.1".parse().unwrap(),
        datadir: "./atq-data".into(),
        docker_host: None,
        discovery_image: "atq-discovery:dev".into(),
        discovery_host: None,
        advertise_url: None,
        public_url: None,
        allowed_hosts: Vec::new(),
        auth: Auth::Off,
        token_exchange: Vec::new(),
        socket: None,
        tls: None,
        node_port: None,
        node_bind: None,
        carrier_image: "atq-carrier:dev".into(),
        node_docker_socket: "/var/run/docker.sock".into(),
        delivery: Delivery::Push,
        director_id: None,
        max_concurrent_tasks: 4,
        fixed_orchestration_timeout: None,
        limits: Limits {
            upload_bytes: 2_147_483_648,
            unpacked_bytes: 8_589_934_592,
            entries: 100_000,
            replicas: 1000,
            results_bytes: 8_589_934_592,
            log_bytes: 71_303_168,
            connections: None,
            pids: 16_384,
            stop_grace_period: 3600,
        },
        retention: Retention {
            tasks: Some(1000),
            task_age: None,
            evidence_bytes: Some(53_687_091_200),
            bundle_age: Some(Duration::from_secs(2_592_000)),
        },
        subnet_pool: "10.224.0.0/12".parse().unwrap(),
        expose_join_tokens: false,
        log_format: LogFormat::Text,
        images: Images::default(),
        registry_auth: RegistryAuth::new(),
        docker_config: None,
    };
    assert_eq!(config, expected);
}

#[test]
fn example_parses_to_the_defaults_and_names_every_key() {
    let example = Config::example();
    assert_eq!(parse(&example).unwrap(), parse(SMALLEST).unwrap());

    // Commented-out keys must be valid too.
    let all: Vec<String> = example
        .lines()
        .map(|line| {
            line.strip_prefix("# ")
                .filter(|l| is_key(l))
                .unwrap_or(line)
                .to_owned()
        })
        .map(|line| {
            line.strip_prefix("#   ")
                .map(|l| format!("  {l}"))
                .unwrap_or(line)
        })
        .collect();
    let config = parse(&all.join("\n")).unwrap();
    assert!(config.docker_host.is_some() && config.discovery_host.is_some());
    assert!(config.director_id.is_some() && config.fixed_orchestration_timeout.is_some());
    assert_eq!(config.images.rules()[0].variables.len(), 2);
}

fn is_key(line: &str) -> bool {
    line.split_once(':')
        .is_some_and(|(key, _)| key.chars().all(|c| c.is_ascii_alphabetic()))
}

#[test]
fn an_address_beyond_loopback_requires_authentication() {
    for open in ["0.0.0.0", "192.168.1.10", "'::'", "'::ffff:192.168.1.10'"] {
        let fault = message(&format!("bind: {open}"));
        assert!(fault.contains("`bind` (line 3) would let"), "{fault}");
        assert!(message(&format!("auth: off\nbind: {open}")).contains("`bind` (line 4)"));
        assert!(
            with(&format!("bind: {open}\nauth: tokens")).is_ok(),
            "{open}"
        );
    }
    for own in ["127.0.0.1", "127.8.8.8", "'::1'", "'::ffff:127.0.0.1'"] {
        assert!(with(&format!("bind: {own}")).is_ok(), "{own}");
    }
    let overridden = Config::parse(SMALL, env(&[("ATQ_BIND", "0.0.0.0")])).unwrap_err();
    let text = overridden.to_string();
    assert!(
        text.contains("`bind` (from the variable `ATQ_BIND`)"),
        "{text}"
    );
    let both = [("ATQ_BIND", "0.0.0.0"), ("ATQ_AUTH", "tokens")];
    assert!(Config::parse(SMALL, env(&both)).is_ok());
}

#[test]
fn authentication_is_off_or_by_tokens() {
    for off in ["off", "'off'", "\"off\""] {
        assert_eq!(with(&format!("auth: {off}")).unwrap().auth, Auth::Off);
    }
    assert_eq!(with("auth: tokens").unwrap().auth, Auth::Tokens);
    let only_one = message("auth: token\nbind: 0.0.0.0");
    assert!(!only_one.contains("`bind`"), "{only_one}");
    for wrong in ["on", "none", "token"] {
        assert!(message(&format!("auth: {wrong}")).contains("`auth` (line 3)"));
    }
}

#[test]
fn every_key_is_read() {
    let config = with(
        "bind: 0.0.0.0\nauth: tokens\ndatadir: data\ndockerHost: tcp://10.0.0.1:2376\ndiscoveryImage: d:1\ndiscoveryHost: h\n\
         directorId: me-1\nmaxConcurrentTasks: 7\norchestrationTimeout: 90\nlimits: {uploadBytes: 1, unpackedBytes: 2, entries: 3, replicas: 4, resultsBytes: 5, logBytes: 70000, pids: 0, stopGracePeriod: 60, connections: 100}\n\
         retention: {tasks: 0, taskAge: 12h, evidenceBytes: 5, bundleAge: 90}\n\
         subnetPool: 192.168.0.0/16\nexposeJoinTokens: true\nlogFormat: json\n\
         advertiseUrl: https://atq.example:8443/x/\ncarrierImage: c:1\nnodeDockerSocket: /run/d.sock\ndelivery: shared",
    )
    .unwrap();
    assert_eq!(config.bind, IpAddr::from([0, 0, 0, 0]));
    assert_eq!(config.datadir, PathBuf::from("data"));
    assert_eq!(config.docker_host.as_deref(), Some("tcp://10.0.0.1:2376"));
    assert_eq!(
        (
            config.discovery_image.as_str(),
            config.discovery_host.as_deref()
        ),
        ("d:1", Some("h"))
    );
    assert_eq!(
        (config.director_id.as_deref(), config.max_concurrent_tasks),
        (Some("me-1"), 7)
    );
    assert_eq!(config.orchestration_timeout(500), Duration::from_secs(90));
    assert_eq!(
        config.limits,
        Limits {
            upload_bytes: 1,
            unpacked_bytes: 2,
            entries: 3,
            replicas: 4,
            results_bytes: 5,
            log_bytes: 70_000,
            connections: Some(100),
            pids: 0,
            stop_grace_period: 60,
        }
    );
    assert_eq!(
        config.retention,
        Retention {
            tasks: None,
            task_age: Some(Duration::from_secs(43_200)),
            evidence_bytes: Some(5),
            bundle_age: Some(Duration::from_secs(90)),
        }
    );
    assert_eq!(config.subnet_pool.to_string(), "192.168.0.0/16");
    assert!(config.expose_join_tokens);
    assert_eq!(
        config.advertise_url.as_deref(),
        Some("https://atq.example:8443/x")
    );
    assert_eq!(config.carrier_image, "c:1");
    assert_eq!(config.node_docker_socket, PathBuf::from("/run/d.sock"));
    assert_eq!(config.delivery, Delivery::Shared);
    assert_eq!(config.log_format, LogFormat::Json);
}

#[test]
fn timeout_grows_with_the_replicas() {
    let config = parse(SMALL).unwrap();
    assert_eq!(config.orchestration_timeout(0), Duration::from_secs(60));
    assert_eq!(config.orchestration_timeout(100), Duration::from_secs(160));
}

#[test]
fn missing_keys() {
    assert_snapshot!(parse("").unwrap_err(), @r"
    the configuration has 2 faults
      `port` is missing
      `glusterpath` is missing
    the smallest valid file:
      port: 8080
      glusterpath: /var/lib/atq/bundles
    ");
    assert_snapshot!(parse("port: 1\nglusterpath:").unwrap_err(), @r"
    the configuration has a fault
      `glusterpath` is missing
    the smallest valid file:
      port: 8080
      glusterpath: /var/lib/atq/bundles
    ");
}

#[test]
fn all_faults_at_once() {
    let text = "prot: 8080\nglusterpath: 5\nbind: localhost\nlimits:\n  uploadbytes: 1\n  entries: many\nzzz: 1\n";
    assert_snapshot!(parse(text).unwrap_err(), @r"
    the configuration has 7 faults
      `port` is missing
      `prot` (line 1) is unknown: did you mean `port`?
      `glusterpath` (line 2) must be text, found `5`: quote the value
      `bind` (line 3) must be an IP address like `127.0.0.1` or `0.0.0.0`, found `localhost`
      `limits.uploadbytes` (line 5) is unknown: did you mean `limits.uploadBytes`?
      `limits.entries` (line 6) must be a whole number from 1 to 10000000, found `many`
      `zzz` (line 7) is unknown: expected one of `port`, `glusterpath`, `limits`, `retention`, `images`, `registryAuth`, `bind`, `datadir`, `dockerHost`, `discoveryImage`, `discoveryHost`, `advertiseUrl`, `publicUrl`, `allowedHosts`, `auth`, `tokenExchange`, `socket`, `socketGroup`, `socketRole`, `tls`, `nodePort`, `nodeBind`, `carrierImage`, `nodeDockerSocket`, `delivery`, `directorId`, `maxConcurrentTasks`, `orchestrationTimeout`, `subnetPool`, `exposeJoinTokens`, `logFormat`, `dockerConfig`
    the smallest valid file:
      port: 8080
      glusterpath: /var/lib/atq/bundles
    ");
}

#[test]
fn wrong_values() {
    assert_snapshot!(message("maxConcurrentTasks: 0"), @r"
    the configuration has a fault
      `maxConcurrentTasks` (line 3) must be a whole number from 1 to 10000, found `0`
    ");
    assert_snapshot!(message("orchestrationTimeout: -1"), @r"
    the configuration has a fault
      `orchestrationTimeout` (line 3) must be a whole number from 1 to 86400, found `-1`
    ");
    assert_snapshot!(message("exposeJoinTokens: maybe"), @r"
    the configuration has a fault
      `exposeJoinTokens` (line 3) must be `true` or `false`, found `maybe`
    ");
    assert_snapshot!(message("directorId: 12"), @r"
    the configuration has a fault
      `directorId` (line 3) must be text, found `12`: quote the value
    ");
    assert_snapshot!(message("directorId: Not_Good"), @r"
    the configuration has a fault
      `directorId` (line 3) must be 1 to 40 of `a-z`, `0-9` and `-`, found `Not_Good`
    ");
    assert_snapshot!(message("dockerHost: /var/run/docker.sock"), @r"
    the configuration has a fault
      `dockerHost` (line 3) must be a URL like `unix:///var/run/docker.sock` or `tcp://10.0.0.1:2376`, found `/var/run/docker.sock`
    ");
    assert_snapshot!(message("logFormat: xml"), @r"
    the configuration has a fault
      `logFormat` (line 3) must be `text` or `json`, found `xml`
    ");
    assert_snapshot!(message("limits: 5"), @r"
    the configuration has a fault
      `limits` (line 3) must be a mapping, found `5`
    ");
    assert_snapshot!(message("discoveryImage: [a]"), @r"
    the configuration has a fault
      `discoveryImage` (line 3) must be text, found a list
    ");
    assert_snapshot!(parse("port: 70000\nglusterpath: /x").unwrap_err(), @r"
    the configuration has a fault
      `port` (line 1) must be a whole number from 0 to 65535, found `70000`
    ");
}

#[test]
fn subnet_pools() {
    assert_snapshot!(message("subnetPool: 10.224.1.0/12"), @r"
    the configuration has a fault
      `subnetPool` (line 3) must be the start of its range, found `10.224.1.0/12`: did you mean `10.224.0.0/12`?
    ");
    assert_snapshot!(message("subnetPool: 10.0.0.0/25"), @r"
    the configuration has a fault
      `subnetPool` (line 3) must be at least a /24: each task needs one, found `10.0.0.0/25`
    ");
    assert_snapshot!(message("subnetPool: 8.8.0.0/16"), @r"
    the configuration has a fault
      `subnetPool` (line 3) must be within `10.0.0.0/8`, `172.16.0.0/12` or `192.168.0.0/16`, found `8.8.0.0/16`
    ");
    assert_snapshot!(message("subnetPool: 172.0.0.0/8"), @r"
    the configuration has a fault
      `subnetPool` (line 3) must be within `10.0.0.0/8`, `172.16.0.0/12` or `192.168.0.0/16`, found `172.0.0.0/8`
    ");
    assert_snapshot!(message("subnetPool: fd00::/8"), @r"
    the configuration has a fault
      `subnetPool` (line 3) must be an IPv4 range like `10.224.0.0/12`, found `fd00::/8`
    ");
    for good in ["10.0.0.0/8", "172.16.0.0/12", "192.168.7.0/24"] {
        assert!(with(&format!("subnetPool: {good}")).is_ok(), "{good}");
    }
}

#[test]
fn not_a_mapping_or_not_yaml() {
    assert_snapshot!(parse("- a\n- b\n").unwrap_err(), @r"
    the configuration is not valid YAML (line 1): expected keys with values, found a list
    the smallest valid file:
      port: 8080
      glusterpath: /var/lib/atq/bundles
    ");
    assert_snapshot!(parse("port: 1\nglusterpath: [\n").unwrap_err(), @r"
    the configuration is not valid YAML (line 2): unclosed bracket '[' at line 2, column 14
    the smallest valid file:
      port: 8080
      glusterpath: /var/lib/atq/bundles
    ");
    assert_snapshot!(parse("port: 1\nport: 2\nglusterpath: /x").unwrap_err(), @r"
    the configuration is not valid YAML (line 2): duplicate key `port`
    the smallest valid file:
      port: 8080
      glusterpath: /var/lib/atq/bundles
    ");
    assert_snapshot!(parse(&"#".repeat(MAX_BYTES + 1)).unwrap_err(), @"the configuration is larger than 1048576 bytes");
}

#[test]
fn environment_overrides_the_file() {
    let set = [
        ("ATQ_PORT", "9"),
        ("ATQ_DOCKER_HOST", "unix:///x"),
        ("ATQ_LIMITS_UPLOAD_BYTES", "77"),
        ("ATQ_EXPOSE_JOIN_TOKENS", "true"),
        ("ATQ_BIND", ""),
        ("ATQ_DIRECTOR_ID", "12"),
    ];
    let config = Config::parse(SMALL, env(&set)).unwrap();
    assert_eq!((config.port, config.limits.upload_bytes), (9, 77));
    assert_eq!(config.docker_host.as_deref(), Some("unix:///x"));
    assert_eq!(config.director_id.as_deref(), Some("12"));
    assert!(config.expose_join_tokens && config.bind.is_loopback());

    let required = [("ATQ_PORT", "1"), ("ATQ_GLUSTERPATH", "/g")];
    assert!(Config::parse("", env(&required)).is_ok());
    let wrong = [("ATQ_PORT", "many"), ("ATQ_LIMITS_ENTRIES", "0")];
    assert_snapshot!(Config::parse(SMALL, env(&wrong)).unwrap_err(), @r"
    the configuration has 2 faults
      `port` (from the variable `ATQ_PORT`) must be a whole number from 0 to 65535, found `many`
      `limits.entries` (from the variable `ATQ_LIMITS_ENTRIES`) must be a whole number from 1 to 10000000, found `0`
    ");
}

#[test]
fn images_are_restricted_and_variables_required() {
    let any = parse(SMALL).unwrap().images;
    assert!(!any.restricted() && any.required_variables("whatever").is_ok());

    let images = with(
        "images:\n- imageName: docker.io/library/jmeter\n  args:\n  - {name: MODE, required: true}\n  - {name: HEAP}\n- imageName: acme/tool:1\n  variables: [PLAN]",
    )
    .unwrap()
    .images;
    assert_eq!(images.allowed("jmeter:latest").unwrap().variables.len(), 2);
    assert!(images.required_variables("jmeter").unwrap() == ["MODE"]);
    assert!(images.required_variables("acme/tool:1").unwrap().is_empty());
    assert_snapshot!(images.required_variables("acme/tool:2").unwrap_err(), @"image `acme/tool:2` is not allowed: expected one of `acme/tool:1`");
    assert_snapshot!(images.required_variables("zz").unwrap_err(), @"image `zz` is not allowed: expected one of `docker.io/library/jmeter`, `acme/tool:1`");
}

#[test]
fn image_faults() {
    let text = "images:\n- imageName: a\n  variabels: []\n- args: [{required: yes please}]\n- imageName: a:latest\n- text\n";
    assert_snapshot!(message(text), @r"
    the configuration has 6 faults
      `images[1].imageName` is missing
      `images[1].args[0].name` is missing
      `images[0].variabels` (line 5) is unknown: did you mean `images[0].variables`?
      `images[1].args[0].required` (line 6) must be `true` or `false`, found `yes please`
      `images[2]` (line 7) names the same image as `a`
      `images[3]` (line 8) must be a mapping, found `text`
    ");
    assert_snapshot!(message("images: []"), @r"
    the configuration has a fault
      `images` is empty, so that no image is allowed: omit it to allow all
    ");
}

#[test]
fn loading_names_the_file_and_makes_paths_absolute() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("some.yaml");
    let missing = Config::load(Some(&file)).unwrap_err().to_string();
    assert!(
        missing.contains("some.yaml") && missing.contains("glusterpath: "),
        "{missing}"
    );

    fs::write(&file, "port: 1\n").unwrap();
    let faulty = Config::load(Some(&file)).unwrap_err().to_string();
    assert!(
        faulty.starts_with("in `/") && faulty.contains("`glusterpath` is missing"),
        "{faulty}"
    );

    fs::write(&file, "port: 1\nglusterpath: some/dir\n").unwrap();
    let config = Config::load(Some(&file)).unwrap();
    assert!(config.glusterpath.is_absolute() && config.glusterpath.ends_with("some/dir"));
    assert!(config.datadir.is_absolute() && config.datadir.ends_with("atq-data"));
}

#[test]
fn preparing_creates_directories_or_names_the_faulty_key() {
    let directory = tempfile::tempdir().unwrap();
    let mut config = parse(SMALL).unwrap();
    config.glusterpath = directory.path().join("a/b");
    config.datadir = directory.path().join("c");
    config.prepare().unwrap();
    assert!(config.glusterpath.is_dir() && config.datadir.is_dir());

    fs::write(directory.path().join("file"), "").unwrap();
    config.glusterpath = directory.path().join("file/below");
    let error = config.prepare().unwrap_err().to_string();
    assert!(
        error.starts_with("`glusterpath` cannot be used: `"),
        "{error}"
    );
}

#[test]
fn invalid_urls_and_relative_paths_are_faults() {
    for url in [
        "10.0.0.1:8080",
        "ftp://a",
        "http://",
        "http://:80",
        "http://a:x",
        "http://a@b",
        "http://a?b",
        "http://a b",
    ] {
        let error = with(&format!("advertiseUrl: \"{url}\""))
            .unwrap_err()
            .to_string();
        assert!(error.contains("`advertiseUrl`"), "{url}: {error}");
    }
    for url in [
        "http://a",
        "http://[::1]:80",
        "http://[fd00::1]",
        "https://a.b:1/c/",
    ] {
        assert!(with(&format!("advertiseUrl: \"{url}\"")).is_ok(), "{url}");
    }
    assert!(with("nodeDockerSocket: docker.sock").is_err());
    assert!(with("delivery: pull").is_err());
}

#[test]
fn host_names_are_a_list_or_text_and_have_no_port() {
    let hosts =
        |value: &str| with(&format!("allowedHosts: {value}")).map(|config| config.allowed_hosts);
    assert_eq!(hosts("[a.example, b]").unwrap(), ["a.example", "b"]);
    assert_eq!(hosts("a.example, b").unwrap(), ["a.example", "b"]);
    assert!(hosts("[]").unwrap().is_empty());
    for bad in ["[\"a:80\"]", "http://a", "[5]", "\"*\"", "{a: b}"] {
        let error = hosts(bad).unwrap_err();
        assert!(
            error.to_string().contains("`allowedHosts`"),
            "{bad}: {error}"
        );
    }
}

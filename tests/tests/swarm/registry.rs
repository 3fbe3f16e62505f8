//! Private images: a registry with authentication, with correct, wrong and no credentials.

use anyhow::{Result, ensure};
use atq_api_spec::task::{Task, TaskStatus};
use atq_tests::fixture::{Fixture, RUN_TIMEOUT, small_task, with};
use atq_tests::registry::{ADDRESS, AUTH, HOST, IMAGE, PASSWORD, Registry, USER};

/// Runs a task whose workers need the private image, with these lines of configuration, and returns it. No output of the
/// Director may contain one of `secrets`.
async fn run(name: &str, registry: &Registry, more: &str, secrets: &[&str]) -> Result<Task> {
    registry.remove_image().await?;
    let more = format!(
        "dockerHost: {}\ndiscoveryHost: {ADDRESS}\n{more}",
        registry.docker_host()
    );
    let fixture = Fixture::start_with(&format!("test-{name}"), &more).await?;
    let client = fixture.client();
    let task = with(small_task(name, 2), "/worker/image", IMAGE);
    client.start(&task).await?;
    client.outcome(name, RUN_TIMEOUT).await?;
    let task = client.done(name, RUN_TIMEOUT).await?;
    let mut output = fixture.director().log();
    for path in [
        format!("task/{name}"),
        format!("task/{name}/events"),
        "task".to_owned(),
    ] {
        output += &client.get(&format!("/api/{path}")).await?.text().await?;
    }
    for secret in secrets {
        ensure!(
            !output.contains(secret),
            "`{secret}` was disclosed:\n{output}"
        );
    }
    for kind in ["service", "network"] {
        let label = format!("label=com.atq.director=test-{name}");
        let left = registry
            .docker(&[kind, "ls", "-q", "--filter", &label])
            .await?;
        ensure!(left.is_empty(), "{kind}s are left: {left}");
    }
    fixture.finish().await?;
    Ok(task)
}

fn message(task: &Task) -> &str {
    task.failure
        .as_ref()
        .map_or("", |failure| failure.message.as_str())
}

/// `registryAuth` with this password.
fn registry_auth(registry: &Registry, password: &str) -> String {
    format!(
        "registryAuth:\n  {}: {{username: {USER}, password: '{password}'}}\n\
         dockerConfig: {}\n",
        HOST,
        empty_config(registry).unwrap().display()
    )
}

/// A `config.json` without credentials, so that those of the user who runs the tests are not used.
fn empty_config(registry: &Registry) -> Result<std::path::PathBuf> {
    let path = registry.docker_config("empty", "")?;
    std::fs::write(&path, "{}")?;
    Ok(path)
}

/// The cases share the registry; each starts without the image on the node.
#[tokio::test]
async fn credentials_are_sent_with_the_services() -> Result<()> {
    let registry = Registry::start().await?;
    let secrets = [PASSWORD, AUTH, AUTH.trim_end_matches('=')];

    let more = registry_auth(&registry, PASSWORD);
    let task = run("registry-auth", &registry, &more, &secrets).await?;
    ensure!(task.status == TaskStatus::Finished, "{task:#?}");

    let path = registry.docker_config("right", AUTH)?;
    let more = format!("dockerConfig: {}\n", path.display());
    let task = run("registry-config", &registry, &more, &secrets).await?;
    ensure!(task.status == TaskStatus::Finished, "{task:#?}");

    let more = registry_auth(&registry, "wrong-hunter2");
    let task = run("registry-wrong", &registry, &more, &["hunter2"]).await?;
    ensure!(task.status == TaskStatus::Errored, "{task:#?}");
    for part in [
        format!("No such image: {IMAGE}"),
        format!("the registry `{HOST}` reports: "),
        "unauthorized".to_owned(),
        "the credentials of `registryAuth` were sent".to_owned(),
    ] {
        ensure!(
            message(&task).contains(&part),
            "`{part}`: {}",
            message(&task)
        );
    }

    let more = format!("dockerConfig: {}\n", empty_config(&registry)?.display());
    let task = run("registry-none", &registry, &more, &secrets).await?;
    ensure!(task.status == TaskStatus::Errored, "{task:#?}");
    let hint =
        format!("no credentials were sent: set them with `docker login {HOST}` or `registryAuth`");
    ensure!(message(&task).contains(&hint), "{}", message(&task));

    let path = registry.docker_config("broken", AUTH)?;
    std::fs::write(&path, "{hunter2")?;
    let more = format!("dockerConfig: {}\n", path.display());
    let task = run("registry-broken", &registry, &more, &["hunter2"]).await?;
    ensure!(task.status == TaskStatus::Errored, "{task:#?}");
    let reason = format!(
        "no credentials were sent: `{}` cannot be used: it is not JSON",
        path.display()
    );
    ensure!(message(&task).contains(&reason), "{}", message(&task));
    Ok(())
}

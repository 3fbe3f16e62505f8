//! The GitLab template: pipelines run by `gitlab-ci-local` in the local shell, with `atq` and a Director on the real
//! Swarm.

use anyhow::{Context, Result, ensure};
use atq_api_spec::report::Verdict;
use atq_api_spec::task::{Task, TaskList, TaskStatus};
use atq_tests::client::Client;
use atq_tests::director::binary;
use atq_tests::docker::docker;
use atq_tests::fixture::{Fixture, RUN_TIMEOUT};
use atq_tests::gitlab::{Pipeline, Project};
use atq_tests::image::Image;
use quick_xml::Reader;
use quick_xml::events::Event;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// The GitLab template.
const TEMPLATE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../deploy/gitlab/atq-load-test.yml"
);

/// The `atq` of the jobs: the path in `ATQ`, else the one built by Cargo.
fn atq() -> Result<String> {
    let path = match std::env::var_os("ATQ") {
        Some(path) => PathBuf::from(path),
        None => binary()?.with_file_name("atq"),
    };
    let path = path
        .canonicalize()
        .with_context(|| format!("no `{}`; run `cargo build -p atq-cli`", path.display()))?;
    Ok(path.display().to_string())
}

/// The task whose name has this prefix.
async fn task(client: &Client, prefix: &str) -> Result<Option<Task>> {
    let list: TaskList = client.get("/task").await?.json().await?;
    let mut tasks = list.tasks.into_iter();
    Ok(tasks.find(|task| task.id.starts_with(prefix)))
}

/// Number of elements by name in a well-formed XML document.
fn elements(path: &Path) -> Result<BTreeMap<String, u32>> {
    let text = fs::read_to_string(path).with_context(|| format!("no `{}`", path.display()))?;
    let (mut reader, mut counts) = (Reader::from_str(&text), BTreeMap::new());
    loop {
        match reader.read_event().with_context(|| text.clone())? {
            Event::Start(tag) | Event::Empty(tag) => {
                let name = String::from_utf8_lossy(tag.name().as_ref()).into_owned();
                *counts.entry(name).or_default() += 1;
            }
            Event::Eof => return Ok(counts),
            _ => {}
        }
    }
}

/// Checks that the reports for GitLab are artifacts and declared as reports.
fn check_reports(project: &Project, job: &str, dir: &str, failures: bool) -> Result<()> {
    let xml = project.artifact(job, &format!("{dir}/junit.xml"));
    let counts = elements(&xml)?;
    ensure!(counts.contains_key("testcase"), "{counts:?}");
    ensure!(counts.contains_key("failure") == failures, "{counts:?}");
    let json = project.artifact(job, &format!("{dir}/load-performance.json"));
    let json: serde_json::Value = serde_json::from_slice(&fs::read(json)?)?;
    let metrics = json["metrics"].as_object().context("no `metrics`")?;
    ensure!(!metrics.is_empty(), "{json}");
    let read = fs::read_to_string(project.path(".gitlab-ci-local/expanded-gitlab-ci.yml"))?;
    for line in [
        format!("junit: {dir}/junit.xml"),
        format!("load_performance: {dir}/load-performance.json"),
        "when: always".to_owned(),
    ] {
        ensure!(read.contains(&line), "no `{line}` in\n{read}");
    }
    Ok(())
}

/// The content of the file with this name below `dir`.
fn find_file(dir: &Path, name: &str) -> Result<Option<String>> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            if let Some(text) = find_file(&path, name)? {
                return Ok(Some(text));
            }
        } else if path.file_name().is_some_and(|last| last == name) {
            return Ok(Some(fs::read_to_string(path)?));
        }
    }
    Ok(None)
}

async fn passes(client: &Client, more: &[(&str, &str)]) -> Result<()> {
    let project = Project::new().await?;
    project.put_atq(&format!("exec '{}' \"$@\"", atq()?))?;
    let variables = [("ATQ_URL", client.url.as_str()), ("API_TOKEN", "o'pen")];
    let variables = [&variables, more].concat();
    let pipeline = project.pipeline("pass.yml", &variables).await?;
    ensure!(pipeline.passed("load-test"), "{}", pipeline.output);
    ensure!(pipeline.contains("released"), "{}", pipeline.output);
    check_reports(&project, "load-test", "atq-results", false)?;
    // The values of the inputs arrive unchanged.
    let artifacts = project.artifact("load-test", "");
    let greeting = find_file(&artifacts, "greeting.txt")?.context("no greeting.txt")?;
    ensure!(
        greeting == r#"it's "here"; $(touch made-by-a-value) `id` \ < ü"#,
        "{greeting}"
    );
    ensure!(find_file(&artifacts, "token.txt")?.as_deref() == Some("o'pen"));
    ensure!(find_file(&project.path(""), "made-by-a-value")?.is_none());
    let task = task(client, "nit-a-very-long-name-of-a-pipeline-")
        .await?
        .context("no task has this name")?;
    ensure!(
        task.id.len() <= 45 && task.worker.replicas == 2,
        "{task:#?}"
    );
    ensure!(task.verdict == Some(Verdict::Pass), "{task:#?}");
    Ok(())
}

async fn criterion_fails(client: &Client, file: &str, job: &str) -> Result<Pipeline> {
    let project = Project::new().await?;
    let atq = atq()?;
    let variables = [
        ("STAGING_DIRECTOR", client.url.as_str()),
        ("ATQ_PROGRAM", &atq),
    ];
    let pipeline = project.pipeline(file, &variables).await?;
    check_reports(&project, job, job, true).with_context(|| pipeline.output.clone())?;
    Ok(pipeline)
}

async fn fails(client: &Client) -> Result<()> {
    let pipeline = criterion_fails(client, "fail.yml", "strict").await?;
    ensure!(pipeline.failed("strict", 1), "{}", pipeline.output);
    ensure!(!pipeline.contains("released"), "{}", pipeline.output);
    Ok(())
}

async fn warns(client: &Client) -> Result<()> {
    let pipeline = criterion_fails(client, "warn.yml", "lenient").await?;
    ensure!(pipeline.warned("lenient", 1), "{}", pipeline.output);
    ensure!(pipeline.contains("released"), "{}", pipeline.output);
    Ok(())
}

/// The job's shell and `atq` are killed, as when a runner is lost; `after_script` stops the test.
async fn is_killed(client: &Client) -> Result<()> {
    let project = Project::new().await?;
    // $PPID is the shell; the process $$ becomes `atq`.
    project.put_atq(&format!(
        "[ \"$1\" != run ] || echo $PPID $$ >'{}'\nexec '{}' \"$@\"",
        project.path("pids").display(),
        atq()?
    ))?;
    let variables = [("ATQ_URL", client.url.as_str())];
    let (pipeline, cut) = tokio::join!(
        project.pipeline("cut-off.yml", &variables),
        kill_once_started(client, &project)
    );
    let pipeline = pipeline?;
    cut.with_context(|| pipeline.output.clone())?;
    ensure!(pipeline.failed("load-test", 137), "{}", pipeline.output);
    let task = task(client, "cut-off-").await?.context("no task")?;
    ensure!(
        task.status == TaskStatus::Stopped,
        "{:?}: {}",
        task.status,
        pipeline.output
    );
    Ok(())
}

async fn kill_once_started(client: &Client, project: &Project) -> Result<()> {
    let begun = Instant::now();
    loop {
        let task = task(client, "cut-off-").await?;
        if task.is_some_and(|task| task.status == TaskStatus::Started) {
            break;
        }
        ensure!(begun.elapsed() < RUN_TIMEOUT, "the test does not start");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let pids = fs::read_to_string(project.path("pids"))?;
    let killed = std::process::Command::new("kill")
        .arg("-KILL")
        .args(pids.split_whitespace())
        .status()?;
    ensure!(killed.success(), "kill {pids}");
    Ok(())
}

#[tokio::test]
async fn pipelines_end_with_the_exit_codes_of_their_tests() -> Result<()> {
    let fixture = Fixture::start("test-gitlab").await?;
    let client = fixture.client();
    let _image = Image::shell("atq-test-gitlab:1").await?;
    tokio::try_join!(
        passes(&client, &[]),
        fails(&client),
        warns(&client),
        is_killed(&client)
    )?;
    let list: TaskList = client.get("/task").await?.json().await?;
    ensure!(list.tasks.len() == 4, "{list:#?}");
    for task in list.tasks {
        client.delete(&task.id).await?;
    }
    fixture.finish().await?;
    a_token_and_a_private_authority_are_used().await
}

async fn a_token_and_a_private_authority_are_used() -> Result<()> {
    let mut fixture = Fixture::start_with_tls("test-gitlab-tls").await?;
    fixture.use_token(&fixture.create_token("admin")?)?;
    let client = fixture.client();
    let token = fixture.create_token("runner")?;
    let authority = fixture
        .authority()
        .and_then(Path::to_str)
        .context("no authority")?;
    let project = Project::new().await?;
    project.put_atq(&format!("exec '{}' \"$@\"", atq()?))?;
    let url = ("ATQ_URL", client.url.as_str());
    let (token, authority) = (("ATQ_TOKEN", token.as_str()), ("ATQ_CA", authority));
    let input = ("API_TOKEN", "o'pen");
    for (more, code) in [(token, 9), (authority, 10)] {
        let pipeline = project.pipeline("pass.yml", &[url, input, more]).await?;
        ensure!(pipeline.failed("load-test", code), "{}", pipeline.output);
    }
    passes(&client, &[token, authority]).await?;
    let list: TaskList = client.get("/task").await?.json().await?;
    ensure!(list.tasks.len() == 1, "{list:#?}");
    client.delete(&list.tasks[0].id).await?;
    fixture.finish().await
}

/// Runs a pipeline with an `atq` that prints its arguments, which shows how the template passes the inputs.
async fn print_arguments(lists: &str) -> Result<Pipeline> {
    let project = Project::new().await?;
    project.put_atq("for one in \"$@\"; do printf '[%s]\\n' \"$one\"; done")?;
    let variables = [("ATQ_JOB_LISTS", lists), ("LOAD_USER", "it's me")];
    project.pipeline("pass.yml", &variables).await
}

#[tokio::test]
async fn lists_are_read_as_gitlab_writes_them() -> Result<()> {
    // Ruby on Rails, the framework of GitLab, escapes these characters.
    let pipeline = print_arguments(concat!(
        r#"--set ["a=\"b\"","c=\\"]"#,
        "\n--env [\"LOAD_USER\"]\n",
        r#"--criterion ["p95 \u003c 1ms","errors \u003E 1 \u0026 \u00fc\u20ac"]"#
    ))
    .await?;
    for word in [
        "[--set=a=\"b\"]",
        "[--set=c=\\]",
        "[--env=LOAD_USER=it's me]",
        "[--criterion=p95 < 1ms]",
        "[--criterion=errors > 1 & ü€]",
        "[--results=atq-results]",
        "[--junit=atq-results/junit.xml]",
        "[--gitlab=atq-results/load-performance.json]",
        "[--timeout=5m]",
        "[--bundle=bundle]",
        "[load.yaml]",
    ] {
        let line = format!("load-test > {word}\n");
        ensure!(
            pipeline.contains(&line),
            "no `{word}` in {}",
            pipeline.output
        );
    }
    Ok(())
}

/// The script of the job, as GitLab passes it to the shell.
fn script() -> Result<String> {
    let template = fs::read_to_string(TEMPLATE).with_context(|| TEMPLATE.to_owned())?;
    let (_, after) = template
        .split_once("\n  script:\n    - |\n")
        .context("no script")?;
    let lines = after.lines();
    let lines = lines.map_while(|line| match line.is_empty() {
        true => Some(""),
        false => line.strip_prefix("      "),
    });
    Ok(lines.map(|line| format!("{line}\n")).collect())
}

#[tokio::test]
async fn the_script_runs_with_busybox_alone() -> Result<()> {
    let job = tempfile::tempdir()?;
    fs::write(job.path().join("script.sh"), script()?)?;
    fs::write(job.path().join("atq"), "printf '[%s]\\n' \"$@\"\n")?;
    let prepare = "mkdir /bin.only && /bin/busybox --install -s /bin.only && export PATH=/bin.only && \
                   cp /job/atq /bin.only/ && chmod +x /bin.only/atq && exec ash -e /job/script.sh";
    let mount = format!("{}:/job", job.path().display());
    let mut args = vec!["run", "--rm", "-v", &mount];
    for variable in [
        "CI_PROJECT_DIR=/job",
        "CI_JOB_ID=17",
        "CI_PROJECT_NAME=Größe & Co",
        "CI_SERVER_HOST=gitlab.example.com",
        "LOAD_USER=it's \"me\" $HOME",
        "ATQ_JOB_PROGRAM=atq",
        "ATQ_JOB_TASK=load.json",
        "ATQ_JOB_TIMEOUT=5m",
        "ATQ_JOB_RESULTS=out",
        "ATQ_JOB_LISTS=--set [\"a=\\u003cb\\u003e \\u20ac\"]\n--env [\"LOAD_USER\"]",
    ] {
        args.extend(["-e", variable]);
    }
    args.extend(["atq-shell:dev", "/bin/sh", "-c", prepare]);
    let given = docker(&args).await?;
    for word in [
        "[--name=Gr-e-Co-17]",
        "[--set=a=<b> €]",
        "[--env=LOAD_USER=it's \"me\" $HOME]",
        "[--results=out]",
        "[load.json]",
    ] {
        ensure!(given.contains(word), "no `{word}` in {given}");
    }
    Ok(())
}

#[tokio::test]
async fn malformed_lists_are_rejected() -> Result<()> {
    for (lists, message) in [
        (r#"--env ["NO_SUCH_VARIABLE"]"#, "`NO_SUCH_VARIABLE`"),
        ("--set [5]", "`--set` is not text"),
        (r#"--set ["a=1]"#, "`--set` are cut off"),
    ] {
        let pipeline = print_arguments(lists).await?;
        ensure!(pipeline.failed("load-test", 2), "{}", pipeline.output);
        ensure!(
            pipeline.contains(message),
            "no {message} in {}",
            pipeline.output
        );
        ensure!(!pipeline.contains("[run]"), "{}", pipeline.output);
    }
    Ok(())
}

//! The template for GitLab: its pipelines, run by `gitlab-ci-local` on this machine's shell, with the
//! program `atq` and a Director on the real Swarm.

use anyhow::{Context, Result, ensure};
use atq_api_spec::report::Verdict;
use atq_api_spec::task::{Task, TaskList, TaskStatus};
use atq_tests::client::Client;
use atq_tests::director::binary;
use atq_tests::docker::docker;
use atq_tests::gitlab::{Pipeline, Project};
use atq_tests::image::Image;
use atq_tests::stage::{PATIENCE, Stage};
use quick_xml::Reader;
use quick_xml::events::Event;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// The template for projects.
const TEMPLATE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../deploy/gitlab/atq-load-test.yml"
);

/// The program of the jobs: what `ATQ` names, else what Cargo has built.
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

/// The only task whose name begins so.
async fn task(client: &Client, begin: &str) -> Result<Option<Task>> {
    let list: TaskList = client.get("/task").await?.json().await?;
    let mut tasks = list.tasks.into_iter();
    Ok(tasks.find(|task| task.id.starts_with(begin)))
}

/// How many elements of each name a well-formed document has.
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

/// What GitLab reads must be among the artifacts, and be named as reports.
fn reports(project: &Project, job: &str, dir: &str, failures: bool) -> Result<()> {
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

/// The text of the only file of this name below `dir`.
fn found(dir: &Path, name: &str) -> Result<Option<String>> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            if let Some(text) = found(&path, name)? {
                return Ok(Some(text));
            }
        } else if path.file_name().is_some_and(|last| last == name) {
            return Ok(Some(fs::read_to_string(path)?));
        }
    }
    Ok(None)
}

async fn passes(client: &Client) -> Result<()> {
    let project = Project::new().await?;
    project.put_atq(&format!("exec '{}' \"$@\"", atq()?))?;
    let variables = [("ATQ_URL", client.url.as_str()), ("API_TOKEN", "o'pen")];
    let pipeline = project.pipeline("pass.yml", &variables).await?;
    ensure!(pipeline.passed("load-test"), "{}", pipeline.output);
    ensure!(pipeline.says("released"), "{}", pipeline.output);
    reports(&project, "load-test", "atq-results", false)?;
    // The values of the inputs arrived as they are.
    let artifacts = project.artifact("load-test", "");
    let greeting = found(&artifacts, "greeting.txt")?.context("no greeting.txt")?;
    ensure!(
        greeting == r#"it's "here"; $(touch made-by-a-value) `id` \ < ü"#,
        "{greeting}"
    );
    ensure!(found(&artifacts, "token.txt")?.as_deref() == Some("o'pen"));
    ensure!(found(&project.path(""), "made-by-a-value")?.is_none());
    let task = task(client, "nit-a-very-long-name-of-a-pipeline-")
        .await?
        .context("there is no task of this name")?;
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
    reports(&project, job, job, true).with_context(|| pipeline.output.clone())?;
    Ok(pipeline)
}

async fn fails(client: &Client) -> Result<()> {
    let pipeline = criterion_fails(client, "fail.yml", "strict").await?;
    ensure!(pipeline.failed("strict", 1), "{}", pipeline.output);
    ensure!(!pipeline.says("released"), "{}", pipeline.output);
    Ok(())
}

async fn warns(client: &Client) -> Result<()> {
    let pipeline = criterion_fails(client, "warn.yml", "lenient").await?;
    ensure!(pipeline.warned("lenient", 1), "{}", pipeline.output);
    ensure!(pipeline.says("released"), "{}", pipeline.output);
    Ok(())
}

/// The job's shell and its program are killed, as when a runner gives a job up; the test is stopped by
/// what GitLab runs afterwards.
async fn is_cut_off(client: &Client) -> Result<()> {
    let project = Project::new().await?;
    // $PPID is the shell, $$ becomes the program.
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
        ensure!(begun.elapsed() < PATIENCE, "the test does not start");
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
async fn pipelines_end_as_their_tests_do() -> Result<()> {
    let stage = Stage::open("test-gitlab").await?;
    let client = stage.client();
    let _image = Image::shell("atq-test-gitlab:1").await?;
    tokio::try_join!(
        passes(&client),
        fails(&client),
        warns(&client),
        is_cut_off(&client)
    )?;
    let list: TaskList = client.get("/task").await?.json().await?;
    ensure!(list.tasks.len() == 4, "{list:#?}");
    for task in list.tasks {
        client.delete(&task.id).await?;
    }
    stage.close().await
}

/// A program that says what it was given shows what the template makes of the inputs.
async fn given(lists: &str) -> Result<Pipeline> {
    let project = Project::new().await?;
    project.put_atq("for one in \"$@\"; do printf '[%s]\\n' \"$one\"; done")?;
    let variables = [("ATQ_JOB_LISTS", lists), ("LOAD_USER", "it's me")];
    project.pipeline("pass.yml", &variables).await
}

#[tokio::test]
async fn lists_are_read_as_gitlab_writes_them() -> Result<()> {
    // Ruby on Rails, of which GitLab is made, escapes these.
    let pipeline = given(concat!(
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
        ensure!(pipeline.says(&line), "no `{word}` in {}", pipeline.output);
    }
    Ok(())
}

/// The script of the job, as GitLab hands it to the shell.
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
async fn the_script_needs_no_more_than_busybox() -> Result<()> {
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
async fn lists_that_cannot_be_read_are_refused() -> Result<()> {
    for (lists, said) in [
        (r#"--env ["NO_SUCH_VARIABLE"]"#, "`NO_SUCH_VARIABLE`"),
        ("--set [5]", "`--set` is not text"),
        (r#"--set ["a=1]"#, "`--set` are cut off"),
    ] {
        let pipeline = given(lists).await?;
        ensure!(pipeline.failed("load-test", 2), "{}", pipeline.output);
        ensure!(pipeline.says(said), "no {said} in {}", pipeline.output);
        ensure!(!pipeline.says("[run]"), "{}", pipeline.output);
    }
    Ok(())
}

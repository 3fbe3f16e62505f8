//! A registry that wants a password: Debian's `docker-registry` as a process on the loopback of an
//! Engine that pulls, which Docker speaks plain HTTP to. `deploy/setup.sh registry` fetches the program,
//! `deploy/pull-engine.sh` starts the Engine.

use crate::docker::docker;
use anyhow::{Context, Result, bail};
use serde_json::json;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The only user.
pub const USER: &str = "robot";
/// Its password. In base64 it needs the characters that are not the same in all of its alphabets.
pub const PASSWORD: &str = r#"pa:ss~~~???>>>"word"#;
/// `USER:PASSWORD` in base64, as `docker login` writes it.
pub const AUTH: &str = "cm9ib3Q6cGE6c3N+fn4/Pz8+Pj4id29yZA==";
/// What `htpasswd -B` makes of the two.
const HTPASSWD: &str = "robot:$2b$05$abcdefghijklmnopqrstuuuc49XU3OUxihJpEHW7rlIxrNsoX7Xeu\n";

/// The registry as its Engine names it.
pub const HOST: &str = "127.0.0.1:5000";
/// The registry's only image, which no node has.
pub const IMAGE: &str = "127.0.0.1:5000/private/testload:1";
/// The Engine's address as this machine sees it.
pub const ADDRESS: &str = "10.78.78.2";
/// The Engine's network.
const NETNS: &str = "--net=/run/netns/atq-puller";

/// A running registry with one private image, and the Engine beside it. Both are ended when this is
/// dropped.
#[derive(Debug)]
pub struct Registry {
    child: Option<Child>,
    dir: TempDir,
}

impl Registry {
    /// Starts a registry and gives it a small image that is nowhere else.
    ///
    /// # Errors
    /// When the program is missing, does not answer within 20 s, or does not take the image.
    pub async fn start() -> Result<Self> {
        let program = program()?;
        let dir = tempfile::tempdir()?;
        let mut registry = Self { child: None, dir };
        registry.engine("up")?;
        let dir = registry.dir.path();
        let log = File::create(dir.join("registry.log"))?;
        let config = dir.join("config.yml");
        std::fs::write(dir.join("htpasswd"), HTPASSWD)?;
        std::fs::write(&config, configuration(dir).to_string())?;
        let child = Command::new("nsenter")
            .arg(NETNS)
            .arg(program)
            .arg("serve")
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("cannot run `nsenter`")?;
        registry.child = Some(child);
        registry.until_ready(Duration::from_secs(20)).await?;
        registry.publish().await?;
        Ok(registry)
    }

    /// Has the script bring its Engine up or down.
    fn engine(&self, verb: &str) -> Result<()> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/pull-engine.sh");
        let output = Command::new(script)
            .arg(verb)
            .arg(self.dir.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .output()?;
        if !output.status.success() {
            bail!("the Engine: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(())
    }

    /// URL of the Engine, for `dockerHost`.
    pub fn docker_host(&self) -> String {
        format!("unix://{}/docker.sock", self.dir.path().display())
    }

    /// Runs `docker ARGS` with its Engine.
    ///
    /// # Errors
    /// When it fails; the message has its standard error.
    pub async fn docker(&self, args: &[&str]) -> Result<String> {
        let host = self.docker_host();
        let args: Vec<&str> = ["--host", &host]
            .into_iter()
            .chain(args.iter().copied())
            .collect();
        docker(&args).await
    }

    async fn until_ready(&mut self, patience: Duration) -> Result<()> {
        let begun = Instant::now();
        let port = HOST.rsplit(':').next().unwrap_or_default();
        let address = format!("{ADDRESS}:{port}");
        while tokio::net::TcpStream::connect(&address).await.is_err() {
            let ended = match &mut self.child {
                Some(child) => child.try_wait()?,
                None => None,
            };
            if ended.is_some() || begun.elapsed() > patience {
                let log = std::fs::read_to_string(self.dir.path().join("registry.log"))?;
                bail!("the registry does not answer ({ended:?}); its log:\n{log}");
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    /// An image with a layer of its own, so that no node can put it together from what it has.
    async fn publish(&self) -> Result<()> {
        let context = self.dir.path().join("context");
        std::fs::create_dir(&context)?;
        std::fs::write(context.join("mark"), format!("{}\n", self.docker_host()))?;
        let recipe = "FROM atq-testload:dev\nCOPY mark /mark\n";
        std::fs::write(context.join("Dockerfile"), recipe)?;
        let context = context.to_string_lossy();
        self.docker(&["build", "--quiet", "--tag", IMAGE, &context])
            .await?;
        let config = self.docker_config("login", AUTH)?;
        let login = config.parent().context("no directory")?.to_string_lossy();
        self.docker(&["--config", &login, "push", "--quiet", IMAGE])
            .await?;
        self.forget_image().await
    }

    /// Removes the image from this node, so that the next who wants it must pull it.
    ///
    /// # Errors
    /// When it is still there afterwards.
    pub async fn forget_image(&self) -> Result<()> {
        let begun = Instant::now();
        loop {
            // "Is not there" is what is wanted; a container that just ended may still hold it.
            let _ = self.docker(&["rmi", IMAGE]).await;
            let left = self.docker(&["images", "--quiet", IMAGE]).await?;
            if left.is_empty() {
                return Ok(());
            }
            if begun.elapsed() > Duration::from_secs(30) {
                bail!("`{IMAGE}` cannot be removed from its node");
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// A `config.json` of its own, with this `auth` for the registry.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn docker_config(&self, name: &str, auth: &str) -> Result<PathBuf> {
        let dir = self.dir.path().join(name);
        std::fs::create_dir_all(&dir)?;
        let path = dir.join("config.json");
        let content = json!({"auths": {HOST: {"auth": auth}}});
        std::fs::write(&path, content.to_string())?;
        Ok(path)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // It may have ended already.
            let _ = child.kill();
            let _ = child.wait();
        }
        if let Err(error) = self.engine("down") {
            eprintln!("{error:#}");
        }
    }
}

/// YAML that happens to be JSON.
fn configuration(dir: &Path) -> serde_json::Value {
    json!({
        "version": 0.1,
        "log": {"level": "warn", "accesslog": {"disabled": true}},
        "storage": {"filesystem": {"rootdirectory": dir.join("storage")}},
        "http": {"addr": ":5000"},
        "auth": {"htpasswd": {"realm": "atq", "path": dir.join("htpasswd")}},
    })
}

/// On the PATH, or where the set-up has put it: in `tools` of Cargo's directory.
fn program() -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let own = std::env::current_exe()?;
    let tools = own.ancestors().map(|dir| dir.join("tools"));
    std::env::split_paths(&path)
        .chain(tools)
        .map(|dir| dir.join("docker-registry"))
        .find(|program| program.is_file())
        .context("`docker-registry` is missing; run `deploy/setup.sh registry` first")
}

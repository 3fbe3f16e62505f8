//! A registry with authentication: Debian's `docker-registry` on the loopback of an Engine that pulls images, which
//! Docker reaches over plain HTTP. `deploy/setup.sh registry` installs the program, `deploy/pull-engine.sh` starts the
//! Engine.

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
/// Its password. Its base64 form contains the characters that differ between base64 alphabets.
pub const PASSWORD: &str = r#"pa:ss~~~???>>>"word"#;
/// `USER:PASSWORD` in base64, as `docker login` writes it.
pub const AUTH: &str = "cm9ib3Q6cGE6c3N+fn4/Pz8+Pj4id29yZA==";
/// Output of `htpasswd -B` for user and password.
const HTPASSWD: &str = "robot:$2b$05$abcdefghijklmnopqrstuuuc49XU3OUxihJpEHW7rlIxrNsoX7Xeu\n";

/// Address of the registry from its Engine.
pub const HOST: &str = "127.0.0.1:5000";
/// The only image in the registry; no node has it.
pub const IMAGE: &str = "127.0.0.1:5000/private/testload:1";
/// Address of the Engine from this machine.
pub const ADDRESS: &str = "10.78.78.2";
/// The Engine's network namespace, for `nsenter`.
const NETNS: &str = "--net=/run/netns/atq-puller";

/// A running registry with one private image, and its Engine. Both are stopped when this value is dropped.
#[derive(Debug)]
pub struct Registry {
    child: Option<Child>,
    dir: TempDir,
}

impl Registry {
    /// Starts a registry and pushes a small image that exists nowhere else.
    ///
    /// # Errors
    /// When the program is missing, does not respond within 20 s, or rejects the image.
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

    /// Starts (`up`) or removes (`down`) the Engine with the script.
    fn engine(&self, command: &str) -> Result<()> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/pull-engine.sh");
        let output = Command::new(script)
            .arg(command)
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

    /// Runs `docker ARGS` against this Engine.
    ///
    /// # Errors
    /// When it fails; the message contains its standard error.
    pub async fn docker(&self, args: &[&str]) -> Result<String> {
        let host = self.docker_host();
        let args: Vec<&str> = ["--host", &host]
            .into_iter()
            .chain(args.iter().copied())
            .collect();
        docker(&args).await
    }

    async fn until_ready(&mut self, timeout: Duration) -> Result<()> {
        let begun = Instant::now();
        let port = HOST.rsplit(':').next().unwrap_or_default();
        let address = format!("{ADDRESS}:{port}");
        while tokio::net::TcpStream::connect(&address).await.is_err() {
            let ended = match &mut self.child {
                Some(child) => child.try_wait()?,
                None => None,
            };
            if ended.is_some() || begun.elapsed() > timeout {
                let log = std::fs::read_to_string(self.dir.path().join("registry.log"))?;
                bail!("the registry does not respond ({ended:?}); its log:\n{log}");
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    /// Pushes an image with a unique layer, so that no node can assemble it from existing layers.
    async fn publish(&self) -> Result<()> {
        let context = self.dir.path().join("context");
        std::fs::create_dir(&context)?;
        std::fs::write(context.join("marker"), format!("{}\n", self.docker_host()))?;
        let dockerfile = "FROM atq-testload:dev\nCOPY marker /marker\n";
        std::fs::write(context.join("Dockerfile"), dockerfile)?;
        let context = context.to_string_lossy();
        self.docker(&["build", "--quiet", "--tag", IMAGE, &context])
            .await?;
        let config = self.docker_config("login", AUTH)?;
        let login = config.parent().context("no directory")?.to_string_lossy();
        self.docker(&["--config", &login, "push", "--quiet", IMAGE])
            .await?;
        self.remove_image().await
    }

    /// Removes the image from the node, so that the next task must pull it.
    ///
    /// # Errors
    /// When it still exists after 30 s.
    pub async fn remove_image(&self) -> Result<()> {
        let begun = Instant::now();
        loop {
            // A missing image is fine; a container that just ended may still use it.
            let _ = self.docker(&["rmi", IMAGE]).await;
            let remaining = self.docker(&["images", "--quiet", IMAGE]).await?;
            if remaining.is_empty() {
                return Ok(());
            }
            if begun.elapsed() > Duration::from_secs(30) {
                bail!("cannot remove `{IMAGE}` from its node");
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Writes a Docker `config.json` with this `auth` for the registry and returns its path.
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
            // It may have exited already.
            let _ = child.kill();
            let _ = child.wait();
        }
        if let Err(error) = self.engine("down") {
            eprintln!("{error:#}");
        }
    }
}

/// Configuration of the registry. JSON is valid YAML.
fn configuration(dir: &Path) -> serde_json::Value {
    json!({
        "version": 0.1,
        "log": {"level": "warn", "accesslog": {"disabled": true}},
        "storage": {"filesystem": {"rootdirectory": dir.join("storage")}},
        "http": {"addr": ":5000"},
        "auth": {"htpasswd": {"realm": "atq", "path": dir.join("htpasswd")}},
    })
}

/// Finds the program on the PATH or in `tools` of Cargo's target directory, where the set-up script installs it.
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

//! A registry that wants a password: Debian's `docker-registry` as a process on the loopback, which
//! Docker speaks plain HTTP to. `deploy/setup.sh registry` fetches the program.

use crate::director::free_port;
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

/// A running registry with one private image. The process is killed and the image removed when this
/// is dropped.
#[derive(Debug)]
pub struct Registry {
    child: Child,
    dir: TempDir,
    /// Its host with its port, as images name it.
    pub host: String,
    /// The image, which no node has.
    pub image: String,
}

impl Registry {
    /// Starts a registry and gives it a small image that is nowhere else.
    ///
    /// # Errors
    /// When the program is missing, does not answer within 20 s, or does not take the image.
    pub async fn start() -> Result<Self> {
        let host = format!("127.0.0.1:{}", free_port()?);
        let dir = tempfile::tempdir()?;
        let log = File::create(dir.path().join("registry.log"))?;
        let config = dir.path().join("config.yml");
        std::fs::write(dir.path().join("htpasswd"), HTPASSWD)?;
        std::fs::write(&config, configuration(&host, dir.path()).to_string())?;
        let child = Command::new(program()?)
            .arg("serve")
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("cannot run `docker-registry`")?;
        let image = format!("{host}/private/testload:1");
        let mut registry = Self {
            child,
            dir,
            host,
            image,
        };
        registry.until_ready(Duration::from_secs(20)).await?;
        registry.publish().await?;
        Ok(registry)
    }

    async fn until_ready(&mut self, patience: Duration) -> Result<()> {
        let begun = Instant::now();
        while tokio::net::TcpStream::connect(&self.host).await.is_err() {
            let ended = self.child.try_wait()?;
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
        std::fs::write(context.join("mark"), format!("{self:p} {}\n", self.host))?;
        let recipe = "FROM atq-testload:dev\nCOPY mark /mark\n";
        std::fs::write(context.join("Dockerfile"), recipe)?;
        let context = context.to_string_lossy();
        docker(&["build", "--quiet", "--tag", &self.image, &context]).await?;
        let config = self.docker_config("login", AUTH)?;
        let login = config.parent().context("no directory")?.to_string_lossy();
        docker(&["--config", &login, "push", "--quiet", &self.image]).await?;
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
            let _ = docker(&["rmi", &self.image]).await;
            let left = docker(&["images", "--quiet", &self.image]).await?;
            if left.is_empty() {
                return Ok(());
            }
            if begun.elapsed() > Duration::from_secs(30) {
                bail!("`{}` cannot be removed from this node", self.image);
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
        let content = json!({"auths": {&self.host: {"auth": auth}}});
        std::fs::write(&path, content.to_string())?;
        Ok(path)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        // It may have ended already, and the image may be gone.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = Command::new("docker")
            .args(["rmi", "--force", &self.image])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
    }
}

/// YAML that happens to be JSON.
fn configuration(host: &str, dir: &Path) -> serde_json::Value {
    json!({
        "version": 0.1,
        "log": {"level": "warn", "accesslog": {"disabled": true}},
        "storage": {"filesystem": {"rootdirectory": dir.join("storage")}},
        "http": {"addr": host},
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

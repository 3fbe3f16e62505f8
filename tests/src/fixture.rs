//! Test fixture: a Director with its own id and directory, and a check at the end that no object of it is left in
//! Docker.

use crate::authority::PrivateAuthority;
use crate::client::Client;
use crate::director::{Director, binary, free_port};
use crate::docker::{labelled, until_nothing};
use anyhow::{Result, ensure};
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;
use tempfile::TempDir;

/// Timeout of a whole run of the test image.
pub const RUN_TIMEOUT: Duration = Duration::from_secs(120);

/// A Director for one test.
pub struct Fixture {
    /// The Director; `None` while it does not run.
    director: Option<Director>,
    dir: TempDir,
    id: String,
    more: String,
    binary: PathBuf,
    authority: Option<PrivateAuthority>,
}

impl Fixture {
    /// Starts a Director that labels its objects with `id`, which must be unique among the tests.
    ///
    /// # Errors
    /// When the Director does not start.
    pub async fn start(id: &str) -> Result<Self> {
        Self::start_with(id, "").await
    }

    /// Like [`Self::start`], with more lines of configuration.
    ///
    /// # Errors
    /// When the Director does not start.
    pub async fn start_with(id: &str, more: &str) -> Result<Self> {
        Self::start_in(tempfile::tempdir()?, id, more, binary()?, None).await
    }

    /// Starts a Director that requires tokens, with a certificate of a private authority. [`Self::client`] has no token
    /// yet.
    ///
    /// # Errors
    /// When the Director does not start.
    pub async fn start_with_tls(id: &str) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let authority = PrivateAuthority::create(dir.path())?;
        let more = format!("auth: tokens\n{}", authority.configuration());
        Self::start_in(dir, id, &more, binary()?, Some(authority)).await
    }

    /// Starts a Director whose bundles are in its own mount namespace, invisible to the nodes, as if it ran on
    /// another machine.
    ///
    /// # Errors
    /// When the Director does not start.
    pub async fn start_in_mount_namespace(id: &str) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let (bundles, script) = (dir.path().join("bundles"), dir.path().join("apart.sh"));
        std::fs::create_dir(&bundles)?;
        let text = format!(
            "#!/bin/sh\n[ \"$(id -u)\" = 0 ] || set -- --map-root-user\n\
             exec unshare --mount \"$@\" sh -c \
             'mount -t tmpfs atq-test \"$0\" && exec \"$1\"' '{}' '{}'\n",
            bundles.display(),
            binary()?.display()
        );
        std::fs::write(&script, text)?;
        std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755))?;
        Self::start_in(dir, id, "", script, None).await
    }

    async fn start_in(
        dir: TempDir,
        id: &str,
        more: &str,
        binary: PathBuf,
        authority: Option<PrivateAuthority>,
    ) -> Result<Self> {
        remove_earlier(id).await?;
        let more = match more.contains("subnetPool:") {
            true => format!("directorId: {id}\n{more}"),
            false => format!("directorId: {id}\nsubnetPool: {}\n{more}", own_pool()),
        };
        let mut fixture = Self {
            director: None,
            dir,
            id: id.to_owned(),
            more,
            binary,
            authority,
        };
        fixture.restart().await?;
        Ok(fixture)
    }

    /// File with the certificate of the authority, if the Director has one.
    pub fn authority(&self) -> Option<&Path> {
        self.authority.as_ref().map(|one| one.certificate.as_path())
    }

    /// The running Director.
    ///
    /// # Panics
    /// When it does not run.
    pub fn director(&self) -> &Director {
        match &self.director {
            Some(director) => director,
            None => panic!("the Director of this fixture does not run"),
        }
    }

    /// A client of the Director.
    pub fn client(&self) -> Client {
        self.director().client.clone()
    }

    /// Creates a token with this role by the command of the Director.
    ///
    /// # Errors
    /// When the command fails; the message contains its output.
    pub fn create_token(&self, role: &str) -> Result<String> {
        let output = Command::new(&self.binary)
            .args(["token", "create", "--name", "test", "--role", role])
            .current_dir(&self.director().dir)
            .output()?;
        ensure!(output.status.success(), "{output:?}");
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    }

    /// Uses the token for all further requests of [`Self::client`].
    ///
    /// # Errors
    /// When no client can be set up.
    pub fn use_token(&mut self, token: &str) -> Result<()> {
        let authority = self.authority().map(Path::to_owned);
        if let Some(director) = &mut self.director {
            let url = director.client.url.as_str();
            director.client = Client::with(url, Some(token), authority.as_deref())?;
        }
        Ok(())
    }

    /// Moves the Director out of the fixture, so that the test can end it.
    ///
    /// # Panics
    /// When it does not run.
    pub fn take(&mut self) -> Director {
        match self.director.take() {
            Some(director) => director,
            None => panic!("the Director of this fixture does not run"),
        }
    }

    /// Starts the Director again on the same data.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn restart(&mut self) -> Result<()> {
        let (dir, more) = (self.dir.path(), &self.more);
        let director = match &self.authority {
            None => Director::start(&self.binary, dir, more).await?,
            Some(authority) => {
                let port = free_port()?;
                let url = format!("https://127.0.0.1:{port}");
                let client = Client::with(url, None, Some(&authority.certificate))?;
                Director::launch(Command::new(&self.binary), dir, client, port, more).await?
            }
        };
        self.director = Some(director);
        Ok(())
    }

    /// Deletes the bundles and checks that Docker has no object of this Director.
    ///
    /// # Errors
    /// When an object with this Director's label is left.
    pub async fn finish(self) -> Result<()> {
        if let Some(director) = &self.director {
            // Their volumes on the nodes outlive the tasks.
            director.client.delete_bundles().await?;
        }
        until_nothing(
            &format!("com.atq.director={}", self.id),
            Duration::from_secs(60),
        )
        .await
    }
}

/// Removes the objects of an earlier run of the same test that was killed; otherwise they would be counted as
/// objects of this run.
///
/// # Errors
/// When some are still in Docker after the timeout.
pub async fn remove_earlier(id: &str) -> Result<()> {
    let label = format!("com.atq.director={id}");
    if labelled(&label).await?.is_empty() {
        return Ok(());
    }
    let cleanup = CleanupGuard(label.clone());
    tokio::task::spawn_blocking(move || drop(cleanup)).await?;
    until_nothing(&label, RUN_TIMEOUT).await
}

/// A subnet pool of its own: concurrent Directors with the same pool would pick the same subnets and have to retry.
fn own_pool() -> String {
    static STARTED: AtomicU8 = AtomicU8::new(0);
    let number = STARTED.fetch_add(1, Ordering::Relaxed);
    format!("10.{}.0.0/16", 225 + number % 12)
}

impl Drop for Fixture {
    /// A failed test must not leave containers behind for the next one.
    fn drop(&mut self) {
        drop(self.director.take());
        drop(CleanupGuard(format!("com.atq.director={}", self.id)));
    }
}

/// Removes all objects with this label from Docker when dropped, on a best-effort basis.
#[derive(Debug)]
pub struct CleanupGuard(pub String);

impl Drop for CleanupGuard {
    fn drop(&mut self) {
        let label = format!("label={}", self.0);
        let remove = "docker service ls -q --filter \"$0\" | xargs -r docker service rm; \
                      docker ps -q --filter \"$0\" | xargs -r docker kill; \
                      for i in 1 2 3 4 5 6 7 8 9 10; do \
                        ids=$(docker network ls -q --filter \"$0\"); [ -n \"$ids\" ] || break; \
                        sleep 1; docker ps -aq --filter \"$0\" | grep -q . || docker network rm $ids; \
                      done; \
                      for i in 1 2 3 4 5 6 7 8 9 10; do \
                        ids=$(docker volume ls -q --filter \"$0\"); [ -n \"$ids\" ] || break; \
                        docker volume rm $ids || sleep 1; \
                      done";
        let _ = std::process::Command::new("sh")
            .args(["-c", remove, &label])
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .status();
    }
}

/// A task of the test image that takes seconds. Change fields with [`with`].
pub fn small_task(name: &str, workers: u32) -> Value {
    json!({
        "name": name,
        "worker": {"alias": "workers", "image": "atq-testload:dev", "args": ["worker"], "replicas": workers},
        "master": {"alias": "master", "image": "atq-testload:dev", "args": ["master"]},
    })
}

/// Sets or adds the value at a JSON pointer of `task`, for example `/worker/image`.
///
/// # Panics
/// When the pointer's parent does not exist.
pub fn with(mut task: Value, pointer: &str, value: impl Into<Value>) -> Value {
    let (parent, key) = pointer.rsplit_once('/').unwrap_or(("", pointer));
    match task.pointer_mut(parent).and_then(Value::as_object_mut) {
        Some(object) => object.insert(key.to_owned(), value.into()),
        None => panic!("`{parent}` is not an object of the task"),
    };
    task
}

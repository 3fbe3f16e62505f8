//! The stage of a test: a Director with an id of its own in a directory of its own, and the proof at
//! the end that nothing of it is left in Docker.

use crate::director::{Director, binary};
use crate::docker::{labelled, until_nothing};
use anyhow::Result;
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;
use tempfile::TempDir;

/// How long a run of the test image may take in all.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// A stage.
pub struct Stage {
    /// The Director; `None` while it is away.
    director: Option<Director>,
    dir: TempDir,
    id: String,
    more: String,
    binary: PathBuf,
}

impl Stage {
    /// A stage whose Director marks its objects with `id`, which no other test uses.
    ///
    /// # Errors
    /// When the Director does not start.
    pub async fn open(id: &str) -> Result<Self> {
        Self::open_with(id, "").await
    }

    /// The same with more lines of configuration.
    ///
    /// # Errors
    /// When the Director does not start.
    pub async fn open_with(id: &str, more: &str) -> Result<Self> {
        Self::open_in(tempfile::tempdir()?, id, more, binary()?).await
    }

    /// A stage whose Director keeps its bundles where no node sees them, as on a machine of its own:
    /// in a mount namespace.
    ///
    /// # Errors
    /// When the Director does not start.
    pub async fn open_apart(id: &str) -> Result<Self> {
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
        Self::open_in(dir, id, "", script).await
    }

    async fn open_in(dir: TempDir, id: &str, more: &str, binary: PathBuf) -> Result<Self> {
        remove_earlier(id).await?;
        let more = match more.contains("subnetPool:") {
            true => format!("directorId: {id}\n{more}"),
            false => format!("directorId: {id}\nsubnetPool: {}\n{more}", own_pool()),
        };
        let director = Director::start(&binary, dir.path(), &more).await?;
        Ok(Self {
            director: Some(director),
            dir,
            id: id.to_owned(),
            more,
            binary,
        })
    }

    /// The Director, which must not be away.
    ///
    /// # Panics
    /// When it is.
    pub fn director(&self) -> &Director {
        match &self.director {
            Some(director) => director,
            None => panic!("the Director of this stage is away"),
        }
    }

    /// A client of the Director.
    pub fn client(&self) -> crate::client::Client {
        self.director().client.clone()
    }

    /// Takes the Director away, to be ended by the test.
    ///
    /// # Panics
    /// When it is away already.
    pub fn take(&mut self) -> Director {
        match self.director.take() {
            Some(director) => director,
            None => panic!("the Director of this stage is away"),
        }
    }

    /// Starts it again on the same data.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn restart(&mut self) -> Result<()> {
        self.director = Some(Director::start(&self.binary, self.dir.path(), &self.more).await?);
        Ok(())
    }

    /// Ends the stage.
    ///
    /// # Errors
    /// When something with this Director's label is left in Docker.
    pub async fn close(self) -> Result<()> {
        if let Some(director) = &self.director {
            // The volumes to which they were brought outlive their tasks.
            director.client.delete_bundles().await?;
        }
        until_nothing(
            &format!("com.atq.director={}", self.id),
            Duration::from_secs(60),
        )
        .await
    }
}

/// Removes the objects of an earlier run of the same test, which was killed: they would count as those of this
/// run.
///
/// # Errors
/// When something of it is still in Docker at the deadline.
pub async fn remove_earlier(id: &str) -> Result<()> {
    let label = format!("com.atq.director={id}");
    if labelled(&label).await?.is_empty() {
        return Ok(());
    }
    let sweeper = Sweeper(label.clone());
    tokio::task::spawn_blocking(move || drop(sweeper)).await?;
    until_nothing(&label, PATIENCE).await
}

/// Directors beside each other would choose the same subnets, and have to choose again.
fn own_pool() -> String {
    static OPENED: AtomicU8 = AtomicU8::new(0);
    let turn = OPENED.fetch_add(1, Ordering::Relaxed);
    format!("10.{}.0.0/16", 225 + turn % 12)
}

impl Drop for Stage {
    /// A test that failed half-way must not leave containers to the next one.
    fn drop(&mut self) {
        drop(self.director.take());
        drop(Sweeper(format!("com.atq.director={}", self.id)));
    }
}

/// Removes what is in Docker under this label when it is dropped. Best effort.
#[derive(Debug)]
pub struct Sweeper(pub String);

impl Drop for Sweeper {
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

/// A task of the test image that is over in seconds; fields can be changed with [`with`].
pub fn small_task(name: &str, workers: u32) -> Value {
    json!({
        "name": name,
        "worker": {"alias": "workers", "image": "atq-testload:dev", "args": ["worker"], "replicas": workers},
        "master": {"alias": "master", "image": "atq-testload:dev", "args": ["master"]},
    })
}

/// `task` with the value at a JSON pointer, for example `/worker/image`, replaced or added.
///
/// # Panics
/// When the pointer's parent is not there.
pub fn with(mut task: Value, pointer: &str, value: impl Into<Value>) -> Value {
    let (parent, key) = pointer.rsplit_once('/').unwrap_or(("", pointer));
    match task.pointer_mut(parent).and_then(Value::as_object_mut) {
        Some(object) => object.insert(key.to_owned(), value.into()),
        None => panic!("`{parent}` is not an object of the task"),
    };
    task
}

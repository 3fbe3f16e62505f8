//! A stage for the real program: directories in place of volumes, and a server in place of Director and Docker.
#![allow(dead_code, unreachable_pub)]

pub mod server;

use std::fs;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use atq_bundle_archive::BundleId;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;
use zip::CompressionMethod;
use zip::write::SimpleFileOptions;

pub const TOKEN: &str = "5ec8e7";
pub const NODE: &str = "node-1";

/// What stands for the volumes of one node.
pub struct Stage {
    pub dir: TempDir,
}

/// How a carrier ended.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    /// The last words.
    pub words: Value,
    pub lines: usize,
    pub stderr: String,
}

impl Ended {
    pub fn of(output: &Output) -> Self {
        let text = String::from_utf8(output.stdout.clone()).unwrap();
        let last = text.lines().last().expect("a last line on stdout");
        Self {
            code: output.status.code(),
            words: serde_json::from_str(last).unwrap(),
            lines: text.lines().count(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    pub fn problem(&self) -> &str {
        assert_eq!(self.code, Some(1), "{self:?}");
        assert_eq!(self.words["done"], false);
        assert_eq!(self.lines, 1);
        self.words["problem"].as_str().unwrap()
    }

    pub fn is_done(&self) -> &Self {
        assert_eq!(self.code, Some(0), "{self:?}");
        assert_eq!(
            (&self.words["done"], &self.words["problem"]),
            (&json!(true), &Value::Null)
        );
        assert_eq!(self.lines, 1);
        self
    }
}

impl Stage {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let stage = Self { dir };
        fs::create_dir(stage.bundle()).unwrap();
        for slot in 1..=3 {
            fs::create_dir_all(stage.part(slot)).unwrap();
        }
        stage
    }

    pub fn bundle(&self) -> PathBuf {
        self.dir.path().join("bundle")
    }

    pub fn part(&self, slot: u32) -> PathBuf {
        self.dir.path().join("part").join(slot.to_string())
    }

    pub fn command(&self, work: &str, order: &Value) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_atq-carrier"));
        command
            .arg(work)
            .env_clear()
            .env("ATQ_CARRIER_ORDER", order.to_string())
            .env("ATQ_CARRIER_TOKEN", TOKEN)
            .env("ATQ_CARRIER_NODE", NODE)
            .env("ATQ_CARRIER_BUNDLE_DIR", self.bundle())
            .env("ATQ_CARRIER_PARTS_DIR", self.dir.path().join("part"))
            .env("ATQ_CARRIER_DOCKER_SOCKET", self.dir.path().join("sock"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    pub fn start(&self, work: &str, order: &Value) -> Child {
        self.command(work, order).spawn().unwrap()
    }

    pub fn run(&self, work: &str, order: &Value) -> Ended {
        Ended::of(&self.command(work, order).output().unwrap())
    }

    /// Paths of the bundle's volume, without the lock.
    pub fn found(&self) -> Vec<String> {
        found(&self.bundle())
    }
}

pub fn found(root: &Path) -> Vec<String> {
    let mut paths = Vec::new();
    atq_files::walk(root, |path, _| {
        paths.push(path.strip_prefix(root).unwrap().display().to_string());
        Ok(())
    })
    .unwrap();
    paths.retain(|path| path != atq_bundle_archive::LOCK);
    paths.sort();
    paths
}

pub fn order(url: &str, bundle: &str) -> Value {
    json!({
        "url": url,
        "run": "r1",
        "bundle": bundle,
        "limits": { "uploadBytes": 2u64 << 30, "unpackedBytes": 8u64 << 30, "entries": 1000 },
    })
}

pub fn id(zip: &[u8]) -> String {
    let mut hash = Sha256::new();
    hash.update(zip);
    BundleId::of(hash).to_string()
}

/// A zip of one file of noise, as a file; and its id.
pub fn big_zip(at: &Path, bytes: u64) -> String {
    let mut zip = zip::ZipWriter::new(fs::File::create(at).unwrap());
    let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    zip.start_file("noise", stored).unwrap();
    let block: Vec<u8> = (0..1u32 << 20)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect();
    for _ in 0..bytes >> 20 {
        zip.write_all(&block).unwrap();
    }
    zip.finish().unwrap();
    let mut hash = Sha256::new();
    let mut file = fs::File::open(at).unwrap();
    let mut buffer = vec![0; 1 << 20];
    loop {
        let count = file.read(&mut buffer).unwrap();
        if count == 0 {
            return BundleId::of(hash).to_string();
        }
        hash.update(&buffer[..count]);
    }
}

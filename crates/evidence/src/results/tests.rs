#![allow(clippy::unwrap_used)]

use super::*;
use atq_engine::Role;
use atq_files::disk::SmallDisk;
use futures_util::{StreamExt, stream};
use std::io::Cursor;
use std::os::unix::ffi::OsStrExt;
use tokio_tar::{Builder, EntryType, Header};

const RUN: &str = "a1b2c3";
const LIMITS: ResultsLimits = ResultsLimits {
    bytes: 1 << 20,
    files: 100,
};

fn worker() -> Source {
    Source {
        role: Role::Worker,
        replica: 3,
    }
}

fn task() -> TaskName {
    TaskName::parse("load").unwrap()
}

fn budget(limits: ResultsLimits) -> Arc<Budget> {
    Arc::new(Budget::new(limits, &[]))
}

/// Appends an entry with an unchanged name, even if the builder itself would refuse it.
async fn raw(tar: &mut Builder<Vec<u8>>, kind: EntryType, name: &str, content: &[u8]) {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(content.len() as u64);
    header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
    header.set_cksum();
    tar.append(&header, content).await.unwrap();
}

async fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut tar = Builder::new(Vec::new());
    raw(&mut tar, EntryType::Directory, "results/", b"").await;
    for (name, content) in files {
        let mut header = Header::new_gnu();
        header.set_size(content.len() as u64);
        tar.append_data(&mut header, format!("results/{name}"), *content)
            .await
            .unwrap();
    }
    tar.into_inner().await.unwrap()
}

fn pieces(tar: &[u8]) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    let pieces: Vec<_> = tar.chunks(777).map(Bytes::copy_from_slice).collect();
    stream::iter(pieces.into_iter().map(Ok))
}

struct Fixture {
    _dir: tempfile::TempDir,
    evidence: Evidence,
}

impl Fixture {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let evidence = Evidence::new(dir.path());
        Self {
            _dir: dir,
            evidence,
        }
    }

    async fn keep(&self, tar: &[u8], limits: ResultsLimits) -> (KeptResults, Option<Stop>) {
        let (task, tar) = (task(), pieces(tar));
        let evidence = &self.evidence;
        let kept = evidence.keep_results(&task, RUN, worker(), tar, budget(limits));
        kept.await.unwrap()
    }

    fn read(&self, path: &str) -> Option<Vec<u8>> {
        let dir = self.evidence.results_dir(&task(), RUN, worker());
        std::fs::read(dir.join(path)).ok()
    }
}

#[tokio::test]
async fn files_are_kept_with_their_paths_and_counted() {
    let fixture = Fixture::new();
    let long = format!("{}/{}.csv", "d".repeat(120), "f".repeat(120));
    let tar = tar(&[
        ("results.jtl", b"1,2\n"),
        ("deep/er/x", b""),
        (&long, b"long"),
    ])
    .await;
    let (kept, stop) = fixture.keep(&tar, LIMITS).await;
    assert_eq!(stop, None);
    assert_eq!((kept.files, kept.bytes, kept.left_out), (3, 8, 0));
    assert_eq!(fixture.read("results.jtl").unwrap(), b"1,2\n");
    assert_eq!(fixture.read("deep/er/x").unwrap(), b"");
    assert_eq!(fixture.read(&long).unwrap(), b"long");
    let listed = fixture.evidence.results(&task(), RUN).await.unwrap();
    assert_eq!(listed, [kept]);
}

#[tokio::test]
async fn nothing_is_written_outside_the_results_directory() {
    let fixture = Fixture::new();
    let mut tar = Builder::new(Vec::new());
    raw(&mut tar, EntryType::Regular, "results/../../out", b"x").await;
    raw(&mut tar, EntryType::Regular, "../out", b"x").await;
    raw(&mut tar, EntryType::Regular, "/etc/out", b"x").await;
    raw(&mut tar, EntryType::Regular, "results", b"x").await;
    raw(&mut tar, EntryType::Fifo, "results/pipe", b"").await;
    let mut link = Header::new_gnu();
    link.set_entry_type(EntryType::Symlink);
    link.set_size(0);
    link.set_path("results/link").unwrap();
    link.set_link_name("/tmp").unwrap();
    link.set_cksum();
    tar.append(&link, &b""[..]).await.unwrap();
    raw(
        &mut tar,
        EntryType::Regular,
        "results/link/out",
        b"in a directory",
    )
    .await;
    raw(
        &mut tar,
        EntryType::Regular,
        "results/link/out/x",
        b"under a file",
    )
    .await;
    raw(&mut tar, EntryType::Regular, "results/good", b"good").await;
    let tar = tar.into_inner().await.unwrap();
    let (kept, stop) = fixture.keep(&tar, LIMITS).await;
    assert_eq!(stop, None);
    assert_eq!((kept.files, kept.left_out), (2, 7));
    assert_eq!(fixture.read("good").unwrap(), b"good");
    assert_eq!(fixture.read("link/out").unwrap(), b"in a directory");
    assert_eq!(fixture.read("etc/out"), None);
    let root = fixture.evidence.run_dir(&task(), RUN);
    let mut seen: Vec<_> = std::fs::read_dir(root)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    seen.sort();
    assert_eq!(seen, ["incoming", "kept", "results"]);
}

#[tokio::test]
async fn a_container_without_files_is_noted_and_has_no_directory() {
    let fixture = Fixture::new();
    let (kept, stop) = fixture.keep(&tar(&[]).await, LIMITS).await;
    assert_eq!((kept.files, kept.problem, stop), (0, None, None));
    assert!(
        !fixture
            .evidence
            .results_dir(&task(), RUN, worker())
            .exists()
    );
    assert_eq!(
        fixture.evidence.results(&task(), RUN).await.unwrap().len(),
        1
    );
}

#[tokio::test]
async fn files_within_the_limit_are_kept_and_the_limit_is_reported() {
    let fixture = Fixture::new();
    let tar = tar(&[("a", &[b'a'; 600]), ("b", &[b'b'; 600])]).await;
    let tight = ResultsLimits {
        bytes: 1000,
        ..LIMITS
    };
    let (kept, stop) = fixture.keep(&tar, tight).await;
    let text = "the results of the run exceed 1000 bytes (`limits.resultsBytes`)";
    assert_eq!(stop, Some(Stop::TooLarge(text.into())));
    assert_eq!((kept.bytes, kept.problem.as_deref()), (600, Some(text)));
    assert_eq!(fixture.read("a").unwrap().len(), 600);
    let few = ResultsLimits { files: 1, ..LIMITS };
    let other = Fixture::new();
    let (kept, stop) = other.keep(&tar, few).await;
    assert_eq!(stop.unwrap().text(), "the run has more than 1 result files");
    assert_eq!(kept.files, 1);
}

#[tokio::test]
async fn a_file_larger_than_the_free_space_is_not_created() {
    let Some(disk) = SmallDisk::mount(16) else {
        return;
    };
    let evidence = Evidence::new(disk.path());
    let keep = async |tar: &[u8]| {
        let limits = ResultsLimits {
            bytes: 1 << 30,
            ..LIMITS
        };
        let (task, budget) = (task(), budget(limits));
        let kept = evidence.keep_results(&task, RUN, worker(), pieces(tar), budget);
        kept.await.unwrap()
    };
    let large = vec![b'b'; 2 << 20];
    let tar = tar(&[("a", &[b'a'; 600]), ("b", &large)]).await;
    disk.fill_but(2048);
    let (kept, stop) = keep(&tar).await;
    assert!(matches!(stop, Some(Stop::Disk(_))), "{stop:?}");
    let problem = kept.problem.unwrap();
    assert!(problem.contains("3 MiB are needed"), "{problem}");
    let dir = evidence.results_dir(&task(), RUN, worker());
    assert!(dir.join("a").is_file() && !dir.join("b").exists());
    disk.free();
    let (kept, stop) = keep(&tar).await;
    assert_eq!((kept.files, kept.problem, stop), (2, None, None));
}

#[tokio::test]
async fn a_less_complete_transfer_never_replaces_a_better_one() {
    let fixture = Fixture::new();
    let whole = tar(&[("a", &[b'a'; 5000]), ("b", &[b'b'; 5000])]).await;
    // Two truncated transfers, of which the second is longer; a shorter one again; the complete one; then a truncated
    // and an empty one.
    let (kept, stop) = fixture.keep(&whole[..4000], LIMITS).await;
    assert!(matches!(stop, Some(Stop::Broken(_))), "{stop:?}");
    assert!(kept.bytes > 0 && kept.bytes < 4000, "{kept:?}");
    let (later, _) = fixture.keep(&whole[..8000], LIMITS).await;
    assert!(later.bytes > kept.bytes, "{later:?}");
    let (again, _) = fixture.keep(&whole[..4000], LIMITS).await;
    assert_eq!(again, later);
    let (all, stop) = fixture.keep(&whole, LIMITS).await;
    assert_eq!((all.bytes, stop), (10_000, None));
    assert_eq!(fixture.keep(&whole[..4000], LIMITS).await.0, all);
    assert_eq!(fixture.keep(&tar(&[]).await, LIMITS).await.0, all);
    assert_eq!(fixture.read("b").unwrap().len(), 5000);
}

#[tokio::test]
async fn the_limit_applies_to_all_containers_together_and_to_kept_results() {
    let kept = KeptResults {
        source: worker(),
        files: 1,
        bytes: 900,
        left_out: 0,
        problem: None,
        partial: false,
    };
    let limits = ResultsLimits {
        bytes: 1000,
        ..LIMITS
    };
    let budget = Budget::new(limits, &[kept]);
    assert!(budget.take_bytes(60).is_ok());
    assert!(budget.take_bytes(60).is_err());
    assert!(budget.take_bytes(40).is_ok());
}

#[tokio::test]
async fn a_zip_has_every_file_under_its_container() {
    let fixture = Fixture::new();
    let large = vec![b'x'; 3 << 20];
    let content = tar(&[("deep/b", &large), ("a", b"1\n")]).await;
    let limits = ResultsLimits {
        bytes: 1 << 30,
        ..LIMITS
    };
    fixture.keep(&content, limits).await;
    let zip = fixture.evidence.zip_results(&task(), RUN, vec![worker()]);
    let pieces: Vec<_> = zip.map(Result::unwrap).collect().await;
    let bytes = pieces.concat();
    let mut zip = zip::ZipArchive::new(Cursor::new(bytes)).unwrap();
    let names: Vec<_> = zip
        .file_names()
        .map(|name| name.unwrap().into_owned())
        .collect();
    assert_eq!(names, ["worker.3/a", "worker.3/deep/b"]);
    let mut read = Vec::new();
    let mut file = zip.by_name("worker.3/deep/b").unwrap();
    io::Read::read_to_end(&mut file, &mut read).unwrap();
    assert!(read == large);
}

#[tokio::test]
async fn hard_links_are_kept_if_they_stay_in_the_archive() {
    let fixture = Fixture::new();
    let mut tar = Builder::new(Vec::new());
    raw(&mut tar, EntryType::Regular, "results/a", b"text").await;
    for (name, target) in [
        ("results/deep/b", "results/a"),
        ("results/none", "results/missing"),
        ("results/out", "results/../../out"),
        ("results/etc", "/etc/passwd"),
        ("results/dir", "results/deep"),
    ] {
        let mut link = Header::new_gnu();
        link.set_entry_type(EntryType::Link);
        link.set_size(0);
        link.set_path(name).unwrap();
        link.as_gnu_mut().unwrap().linkname[..target.len()].copy_from_slice(target.as_bytes());
        link.set_cksum();
        tar.append(&link, &b""[..]).await.unwrap();
    }
    raw(&mut tar, EntryType::Regular, "results/last", b"x").await;
    let tar = tar.into_inner().await.unwrap();
    let (kept, stop) = fixture.keep(&tar, LIMITS).await;
    assert_eq!(stop, None);
    assert_eq!((kept.files, kept.bytes, kept.left_out), (3, 9, 4));
    assert_eq!(fixture.read("deep/b").unwrap(), b"text");
    // Hard links count like regular files, because each is a separate file in the zip.
    let tight = ResultsLimits { bytes: 7, ..LIMITS };
    let (_, stop) = Fixture::new().keep(&tar, tight).await;
    assert!(matches!(stop, Some(Stop::TooLarge(_))), "{stop:?}");
}

#[tokio::test]
async fn unusual_names_and_times_are_in_the_zip() {
    let fixture = Fixture::new();
    let mut tar = Builder::new(Vec::new());
    let long = [b"results/".as_slice(), &[0xe9; 255]].concat();
    for name in [
        &b"results/a\xe9"[..],
        b"results/a\xe8",
        "results/a\u{fffd}".as_bytes(),
        &long,
    ] {
        let mut header = Header::new_gnu();
        header.set_size(1);
        header.set_mtime(1_700_000_001);
        let path = std::ffi::OsStr::from_bytes(name);
        tar.append_data(&mut header, path, &b"x"[..]).await.unwrap();
    }
    fixture.keep(&tar.into_inner().await.unwrap(), LIMITS).await;
    let zip = fixture.evidence.zip_results(&task(), RUN, vec![worker()]);
    let pieces: Vec<_> = zip.map(Result::unwrap).collect().await;
    let mut zip = zip::ZipArchive::new(Cursor::new(pieces.concat())).unwrap();
    let names: Vec<String> = zip
        .file_names()
        .map(|name| name.unwrap().into_owned())
        .collect();
    assert_eq!(names.len(), 4);
    for name in ["worker.3/a%E9", "worker.3/a%E8", "worker.3/a\u{fffd}"] {
        assert!(names.iter().any(|seen| seen == name), "{names:?}");
    }
    for index in 0..names.len() {
        let file = zip.by_index(index).unwrap();
        let times: Vec<_> = file.extra_data_fields().collect();
        let [zip::ExtraField::ExtendedTimestamp(time)] = times[..] else {
            panic!("{times:?}");
        };
        assert_eq!(time.mod_time(), Some(1_700_000_001));
        assert_eq!(
            file.last_modified().unwrap().to_string(),
            "2023-11-14 22:13:20"
        );
    }
}

#[tokio::test]
async fn a_zip_that_cannot_be_read_to_its_end_ends_with_an_error() {
    let fixture = Fixture::new();
    let zip = fixture.evidence.zip_results(&task(), RUN, vec![worker()]);
    let pieces: Vec<_> = zip.collect().await;
    assert!(
        pieces.last().unwrap().is_err(),
        "nothing was kept: {pieces:?}"
    );
}

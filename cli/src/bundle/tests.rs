#![allow(clippy::unwrap_used)]
use super::*;
use crate::director::Director;
use crate::exit::Exit;
use axum::Json;
use axum::Router;
use axum::extract::{Multipart, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::sync::Mutex;
use std::time::{Duration, SystemTime};
use tempfile::TempDir;

/// A directory with these files; those whose content begins with `#!` are executable.
fn directory<N: AsRef<Path>, C: AsRef<[u8]>>(files: impl IntoIterator<Item = (N, C)>) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, content) in files {
        let path = dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &content).unwrap();
        if content.as_ref().starts_with(b"#!") {
            std::fs::set_permissions(&path, PermissionsExt::from_mode(0o700)).unwrap();
        }
    }
    dir
}

const QUIET: Out = Out {
    json: false,
    watched: false,
};

fn zip_of(path: &Path) -> Result<Zip, Trouble> {
    let (source, name) = open(path)?;
    prepare(source, name, QUIET)
}

fn id_of(path: &Path) -> String {
    zip_of(path).unwrap().id
}

/// What a zip holds: content and mode by name.
fn content(zip: &Zip) -> BTreeMap<String, (Vec<u8>, u32)> {
    let reader = zip.file.try_clone().unwrap();
    let mut archive = zip::ZipArchive::new(reader).unwrap();
    let indices = 0..archive.len();
    indices
        .map(|index| {
            let mut file = archive.by_index(index).unwrap();
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes).unwrap();
            (
                file.name().unwrap().into_owned(),
                (bytes, file.unix_mode().unwrap() & 0o777),
            )
        })
        .collect()
}

/// The names in the bundle of a directory with these files.
fn names(files: &[(&str, &str)]) -> Vec<String> {
    let dir = directory(files.iter().copied());
    content(&zip_of(dir.path()).unwrap()).into_keys().collect()
}

#[test]
fn times_owners_permissions_and_the_order_of_creation_do_not_matter() {
    let files = [("b", "two"), ("a/deep/x.sh", "#!/bin/sh"), ("a/y", "")];
    let one = directory(files);
    let two = directory(files.into_iter().rev());
    let old = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    let touched = File::options().append(true).open(two.path().join("b"));
    touched.unwrap().set_modified(old).unwrap();
    std::fs::set_permissions(two.path().join("a/y"), PermissionsExt::from_mode(0o600)).unwrap();
    std::fs::create_dir(two.path().join("empty")).unwrap();
    assert_eq!(id_of(one.path()), id_of(one.path()));
    assert_eq!(id_of(one.path()), id_of(two.path()));
    // The executable bit is no such thing.
    std::fs::set_permissions(two.path().join("a/y"), PermissionsExt::from_mode(0o755)).unwrap();
    assert_ne!(id_of(one.path()), id_of(two.path()));
}

#[test]
fn the_bytes_of_a_bundle_are_fixed() {
    // The first local header, which no version of a library can write in another way.
    let dir = directory([("run.sh", "#!/bin/sh\necho hello\n"), ("a.txt", "a")]);
    let zip = zip_of(dir.path()).unwrap();
    let mut head = [0; 35];
    Positioned::new(Arc::clone(&zip.file))
        .read_exact(&mut head)
        .unwrap();
    // 1980-01-01, the oldest time of the format.
    assert_eq!(head[10..14], [0, 0, 0x21, 0]);
    assert_eq!(&head[30..35], b"a.txt");
    let modes: Vec<u32> = content(&zip).values().map(|(_, mode)| *mode).collect();
    assert_eq!(modes, [0o644, 0o755]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn a_bundle_holds_the_directory_whatever_is_in_it(
        files in proptest::collection::btree_map(
            "[a-zäA-Z0-9 ._-]{0,6}[a-z]/[a-z][a-z ]{0,5}[a-z]",
            proptest::collection::vec(any::<u8>(), 0..600),
            1..12,
        )
    ) {
        let (one, two) = (directory(&files), directory(files.iter().rev()));
        let zip = zip_of(one.path()).unwrap();
        prop_assert_eq!(&zip.id, &id_of(two.path()));
        let seen: BTreeMap<String, Vec<u8>> = content(&zip)
            .into_iter()
            .map(|(name, (bytes, _))| (name, bytes))
            .collect();
        prop_assert_eq!(seen, files);
    }
}

#[test]
fn ignore_files_leave_out_what_they_name() {
    let tree = |rules| {
        vec![
            (".atqignore", rules),
            (".hidden", ""),
            (".gitignore", "kept.log"),
            (".ignore", "kept.log"),
            (".git/config", "secret"),
            ("sub/.git", "gitdir: elsewhere"),
            ("kept.log", ""),
            ("sub/deep/one.log", ""),
            ("sub/two.txt", ""),
        ]
    };
    let seen = |rules| names(&tree(rules)).join(" ");
    let all = ".gitignore .hidden .ignore kept.log sub/deep/one.log sub/two.txt";
    assert_eq!(seen(""), all);
    assert_eq!(seen("# nothing\n\n"), all);
    for (rules, left) in [
        ("*.log", ".gitignore .hidden .ignore sub/two.txt"),
        ("*.log\n!kept.log\n.*", "kept.log sub/two.txt"),
        ("/sub/", ".gitignore .hidden .ignore kept.log"),
        ("sub/**/*.log\n.*", "kept.log sub/two.txt"),
        ("/two.txt\n.*", "kept.log sub/deep/one.log sub/two.txt"),
    ] {
        assert_eq!(seen(rules), left, "{rules}");
    }
    let nested = names(&[("a/.atqignore", "x"), ("a/x", ""), ("a/y", ""), ("x", "")]);
    assert_eq!(nested, ["a/y", "x"]);
}

#[test]
fn an_ignore_file_outside_says_nothing() {
    let outer = directory([(".atqignore", "*"), ("inner/x", "")]);
    assert_eq!(zip_of(&outer.path().join("inner")).unwrap().files, 1);
}

#[test]
fn links_to_own_files_become_files() {
    let dir = directory([("a/real", "#! content")]);
    symlink("a/real", dir.path().join("link")).unwrap();
    let seen = content(&zip_of(dir.path()).unwrap());
    assert_eq!(seen["link"], seen["a/real"]);
    // Neither does it matter that the directory itself is named by one.
    let beside = tempfile::tempdir().unwrap();
    symlink(dir.path(), beside.path().join("bundle")).unwrap();
    assert_eq!(id_of(&beside.path().join("bundle")), id_of(dir.path()));
}

/// What is said of a directory with this in it, besides one good file.
fn refusal(add: impl FnOnce(&Path)) -> String {
    let dir = directory([("good", "")]);
    add(dir.path());
    let trouble = zip_of(dir.path()).unwrap_err();
    assert_eq!(trouble.exit(), Exit::Usage, "{trouble}");
    let place = dir.path().to_str().unwrap();
    format!("{trouble}; {}", trouble.hint()).replace(place, "DIR")
}

#[test]
fn what_cannot_be_sent_is_named() {
    let link = |to: &'static str| refusal(move |dir| symlink(to, dir.join("link")).unwrap());
    insta::assert_snapshot!(link("/etc/hostname"), @"`link` is a symbolic link that leads out of the directory, to `/etc/hostname`; put the file itself there, or leave it out with the line `/link` in `.atqignore`");
    insta::assert_snapshot!(link("nowhere"), @"`link` is a symbolic link that leads nowhere: No such file or directory (os error 2); put the file itself there, or leave it out with the line `/link` in `.atqignore`");
    insta::assert_snapshot!(link("."), @"`link` is a symbolic link to a directory; put the file itself there, or leave it out with the line `/link` in `.atqignore`");
    let file = |name: &'static str| refusal(move |dir| std::fs::write(dir.join(name), "").unwrap());
    insta::assert_snapshot!(file("back\\slash"), @r"`back\\slash` has a backslash in its name; zip names separate directories by `/`");
    insta::assert_snapshot!(file("new\nline"), @r"`new\nline` has a control character in its name; ");
    insta::assert_snapshot!(file(".atq-bundle"), @"`.atq-bundle` lies at the root of the archive under a name that is kept for the delivery to the nodes; give it another name, or put it into a directory");
    let socket =
        refusal(|dir| drop(std::os::unix::net::UnixListener::bind(dir.join("s")).unwrap()));
    insta::assert_snapshot!(socket, @"`s` is a device, a pipe or a socket; leave it out with the line `/s` in `.atqignore`");
    let rules = refusal(|dir| std::fs::write(dir.join(".atqignore"), "a{b\n").unwrap());
    insta::assert_snapshot!(rules, @"`DIR` cannot be packed: DIR/.atqignore: line 1: error parsing glob 'a{b': unclosed alternate group; missing '}' (maybe escape '{' with '[{]'?); ");
    let nothing = refusal(|dir| std::fs::write(dir.join(".atqignore"), "*").unwrap());
    insta::assert_snapshot!(nothing, @"`DIR` holds no file to send; its `.atqignore` leaves everything out");
    let empty = refusal(|dir| std::fs::remove_file(dir.join("good")).unwrap());
    insta::assert_snapshot!(empty, @"`DIR` holds no file to send; expected at least one file");
}

#[test]
fn a_zip_goes_as_it_is_if_it_is_one() {
    let dir = directory([("x", "1"), ("bad.zip", "no zip")]);
    let made = zip_of(dir.path()).unwrap();
    let mut bytes = Vec::new();
    Positioned::new(Arc::clone(&made.file))
        .read_to_end(&mut bytes)
        .unwrap();
    let path = dir.path().join("bundle");
    std::fs::write(&path, &bytes).unwrap();
    let given = zip_of(&path).unwrap();
    assert_eq!((given.id, given.name), (made.id, "bundle.zip".to_owned()));

    let trouble = zip_of(&dir.path().join("bad.zip")).unwrap_err();
    assert_eq!(trouble.exit(), Exit::Usage);
    assert!(trouble.to_string().contains("bad.zip"), "{trouble}");
    let trouble = zip_of(&dir.path().join("missing")).unwrap_err();
    assert_eq!(trouble.exit(), Exit::Usage);
    assert!(trouble.to_string().contains("missing"), "{trouble}");
}

#[test]
fn what_looks_like_a_bomb_when_it_is_compressed_goes_uncompressed() {
    let dir = directory([("zeros", vec![0; 20 << 20])]);
    let zip = zip_of(dir.path()).unwrap();
    assert!(zip.bytes > 20 << 20, "{}", zip.bytes);
    assert_eq!(zip.id, id_of(dir.path()));
}

/// A Director that keeps what it gets, after it has lost the first connections in one way or the other.
#[derive(Default)]
struct Canned {
    /// So many connections are cut off before the upload is read.
    cut: usize,
    /// So many answers are lost after the upload is kept.
    mute: usize,
    /// Uploads by id, and the names that came with them.
    kept: BTreeMap<String, String>,
    uploads: usize,
    lies: bool,
}

type Shared = Arc<Mutex<Canned>>;

async fn take(State(canned): State<Shared>, mut form: Multipart) -> Json<serde_json::Value> {
    let cut = {
        let mut canned = canned.lock().unwrap();
        canned.uploads += 1;
        let cut = canned.cut > 0;
        canned.cut = canned.cut.saturating_sub(1);
        cut
    };
    if cut {
        // Ends the connection without a word, here and there.
        std::panic::resume_unwind(Box::new(()));
    }
    let field = form.next_field().await.unwrap().unwrap();
    assert_eq!(field.name(), Some("file"));
    let name = field.file_name().unwrap().to_owned();
    let mut hash = Sha256::new();
    hash.update(field.bytes().await.unwrap());
    let id = BundleId::of(hash).to_string();
    let mut canned = canned.lock().unwrap();
    canned.kept.insert(id.clone(), name);
    if canned.mute > 0 {
        canned.mute -= 1;
        drop(canned);
        std::panic::resume_unwind(Box::new(()));
    }
    let id = if canned.lies { "0".repeat(32) } else { id };
    Json(serde_json::json!({ "id": id }))
}

async fn look(
    State(canned): State<Shared>,
    axum::extract::Path(id): axum::extract::Path<String>,
) -> (StatusCode, Json<serde_json::Value>) {
    let absent = serde_json::json!({"error": "no such bundle", "code": "bundle_not_found"});
    match canned.lock().unwrap().kept.contains_key(&id) {
        true => (StatusCode::OK, Json(serde_json::json!({}))),
        false => (StatusCode::NOT_FOUND, Json(absent)),
    }
}

async fn serve(canned: Canned) -> (Context, Shared) {
    let shared = Arc::new(Mutex::new(canned));
    let routes = Router::new()
        .route("/api/databind/upload", post(take))
        .route("/api/databind/{id}", get(look))
        .with_state(Arc::clone(&shared));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, routes).await });
    let context = Context {
        director: Director::at(&url).unwrap(),
        out: QUIET,
    };
    (context, shared)
}

#[tokio::test]
async fn what_the_director_has_is_not_sent_again() {
    let (context, canned) = serve(Canned::default()).await;
    let dir = directory([("x", "1")]);
    let first = carry(&context, dir.path()).await.unwrap();
    assert!(first.uploaded, "{first:?}");
    let again = carry(&context, dir.path()).await.unwrap();
    let expected = Brought {
        uploaded: false,
        ..first
    };
    assert_eq!(again, expected);
    let canned = canned.lock().unwrap();
    assert_eq!(canned.uploads, 1);
    let name = dir.path().file_name().unwrap().to_str().unwrap();
    assert_eq!(canned.kept[&again.id], format!("{name}.zip"));
}

#[tokio::test]
async fn a_lost_connection_is_tried_again_with_the_whole_zip() {
    for (cut, mute, uploads) in [(1, 0, 2), (0, 1, 1)] {
        let (context, canned) = serve(Canned {
            cut,
            mute,
            ..Canned::default()
        })
        .await;
        let dir = directory([("x", "some content")]);
        let id = bring(&context, dir.path()).await.unwrap();
        let canned = canned.lock().unwrap();
        assert_eq!(canned.uploads, uploads, "cut {cut}, mute {mute}");
        // The Director makes the id of what it got.
        assert!(canned.kept.contains_key(&id), "{:?}", canned.kept);
    }
}

#[tokio::test]
async fn another_id_than_expected_is_no_success() {
    let (context, _) = serve(Canned {
        lies: true,
        ..Canned::default()
    })
    .await;
    let dir = directory([("x", "1")]);
    let trouble = bring(&context, dir.path()).await.unwrap_err();
    assert_eq!(trouble.exit(), Exit::InfrastructureFailed, "{trouble}");
}

#[tokio::test]
async fn nobody_there_is_told_before_anything_is_packed() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let context = Context {
        director: Director::at(&url).unwrap(),
        out: QUIET,
    };
    let dir = directory([("x", "1")]);
    let trouble = bring(&context, dir.path()).await.unwrap_err();
    assert_eq!(trouble.exit(), Exit::Unreachable, "{trouble}");
}

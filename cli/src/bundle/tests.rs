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

/// A directory with these files; those that start with `#!` are executable.
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
    is_interactive: false,
};

fn zip_of(path: &Path) -> Result<Zip, CliError> {
    let (source, name) = open(path)?;
    prepare(source, name, path, QUIET)
}

fn id_of(path: &Path) -> String {
    zip_of(path).unwrap().id
}

/// The files of a zip: content and mode by name.
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
fn times_owners_permissions_and_creation_order_have_no_effect() {
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
    // The executable bit has an effect.
    std::fs::set_permissions(two.path().join("a/y"), PermissionsExt::from_mode(0o755)).unwrap();
    assert_ne!(id_of(one.path()), id_of(two.path()));
}

#[test]
fn the_bytes_of_a_bundle_are_fixed() {
    // The first local header, which is the same in every version of the library.
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
    fn a_bundle_contains_exactly_the_directory(
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
fn ignore_files_exclude_matching_files() {
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
fn an_ignore_file_outside_has_no_effect() {
    let outer = directory([(".atqignore", "*"), ("inner/x", "")]);
    assert_eq!(zip_of(&outer.path().join("inner")).unwrap().files, 1);
}

#[test]
fn links_to_own_files_become_files() {
    let dir = directory([("a/real", "#! content")]);
    symlink("a/real", dir.path().join("link")).unwrap();
    let seen = content(&zip_of(dir.path()).unwrap());
    assert_eq!(seen["link"], seen["a/real"]);
    // The directory itself may be given by a link.
    let beside = tempfile::tempdir().unwrap();
    symlink(dir.path(), beside.path().join("bundle")).unwrap();
    assert_eq!(id_of(&beside.path().join("bundle")), id_of(dir.path()));
}

/// The error for a directory with this content and one valid file.
fn refusal(add: impl FnOnce(&Path)) -> String {
    let dir = directory([("good", "")]);
    add(dir.path());
    let error = zip_of(dir.path()).unwrap_err();
    assert_eq!(error.exit(), Exit::Usage, "{error}");
    let place = dir.path().to_str().unwrap();
    format!("{error}; {}", error.hint()).replace(place, "DIR")
}

#[test]
fn files_that_cannot_be_uploaded_are_named() {
    let link = |to: &'static str| refusal(move |dir| symlink(to, dir.join("link")).unwrap());
    insta::assert_snapshot!(link("/etc/hostname"), @"`link` is a symbolic link to `/etc/hostname`, which is outside the directory; replace the link by the file, or exclude it with the line `/link` in `.atqignore`");
    insta::assert_snapshot!(link("nowhere"), @"`link` is a broken symbolic link: No such file or directory (os error 2); replace the link by the file, or exclude it with the line `/link` in `.atqignore`");
    insta::assert_snapshot!(link("."), @"`link` is a symbolic link to a directory; replace the link by the file, or exclude it with the line `/link` in `.atqignore`");
    let file = |name: &'static str| refusal(move |dir| std::fs::write(dir.join(name), "").unwrap());
    insta::assert_snapshot!(file("back\\slash"), @r"`back\\slash` has a backslash in its name; zip names separate directories by `/`");
    insta::assert_snapshot!(file("new\nline"), @r"`new\nline` has a control character in its name; ");
    insta::assert_snapshot!(file(".atq-bundle"), @"`.atq-bundle` has a name that is reserved at the root of the archive; rename it or move it into a directory");
    let socket =
        refusal(|dir| drop(std::os::unix::net::UnixListener::bind(dir.join("s")).unwrap()));
    insta::assert_snapshot!(socket, @"`s` is a device, a pipe or a socket; exclude it with the line `/s` in `.atqignore`");
    let rules = refusal(|dir| std::fs::write(dir.join(".atqignore"), "a{b\n").unwrap());
    insta::assert_snapshot!(rules, @"`DIR` cannot be packed: DIR/.atqignore: line 1: error parsing glob 'a{b': unclosed alternate group; missing '}' (maybe escape '{' with '[{]'?); ");
    let nothing = refusal(|dir| std::fs::write(dir.join(".atqignore"), "*").unwrap());
    insta::assert_snapshot!(nothing, @"`DIR` has no files to upload; its `.atqignore` excludes everything");
    let empty = refusal(|dir| std::fs::remove_file(dir.join("good")).unwrap());
    insta::assert_snapshot!(empty, @"`DIR` has no files to upload; expected at least one file");
}

#[test]
fn a_zip_is_uploaded_unchanged() {
    let dir = directory([("x", "1"), ("task.json", "no zip")]);
    let made = zip_of(dir.path()).unwrap();
    let mut bytes = Vec::new();
    Positioned::new(Arc::clone(&made.file))
        .read_to_end(&mut bytes)
        .unwrap();
    let path = dir.path().join("bundle");
    std::fs::write(&path, &bytes).unwrap();
    let given = zip_of(&path).unwrap();
    assert_eq!((given.id, given.name), (made.id, "bundle.zip".to_owned()));

    let no_zip = dir.path().join("task.json");
    let error = zip_of(&no_zip).unwrap_err();
    assert_eq!(error.exit(), Exit::Usage);
    let start = format!("`{}` cannot be uploaded", no_zip.display());
    assert!(error.to_string().starts_with(&start), "{error}");
    let error = zip_of(&dir.path().join("missing")).unwrap_err();
    assert_eq!(error.exit(), Exit::Usage);
    assert!(error.to_string().contains("missing"), "{error}");
}

#[test]
fn content_that_compresses_like_a_zip_bomb_is_stored() {
    let dir = directory([("zeros", vec![0; 20 << 20])]);
    let zip = zip_of(dir.path()).unwrap();
    assert!(zip.bytes > 20 << 20, "{}", zip.bytes);
    assert_eq!(zip.id, id_of(dir.path()));
}

/// A fake Director that stores uploads and can drop connections.
#[derive(Default)]
struct Canned {
    /// Number of connections dropped before the upload is read.
    drop_before: usize,
    /// Number of connections dropped after the upload is stored.
    drop_after: usize,
    /// File names of the uploads by id.
    stored: BTreeMap<String, String>,
    uploads: usize,
    wrong_id: bool,
}

type Shared = Arc<Mutex<Canned>>;

async fn store(State(canned): State<Shared>, mut form: Multipart) -> Json<serde_json::Value> {
    let dropped = {
        let mut canned = canned.lock().unwrap();
        canned.uploads += 1;
        let dropped = canned.drop_before > 0;
        canned.drop_before = canned.drop_before.saturating_sub(1);
        dropped
    };
    if dropped {
        // Closes the connection without a response.
        std::panic::resume_unwind(Box::new(()));
    }
    let field = form.next_field().await.unwrap().unwrap();
    assert_eq!(field.name(), Some("file"));
    let name = field.file_name().unwrap().to_owned();
    let mut hash = Sha256::new();
    hash.update(field.bytes().await.unwrap());
    let id = BundleId::of(hash).to_string();
    let mut canned = canned.lock().unwrap();
    canned.stored.insert(id.clone(), name);
    if canned.drop_after > 0 {
        canned.drop_after -= 1;
        drop(canned);
        std::panic::resume_unwind(Box::new(()));
    }
    let id = if canned.wrong_id { "0".repeat(32) } else { id };
    Json(serde_json::json!({ "id": id }))
}

async fn show(
    State(canned): State<Shared>,
    axum::extract::Path(id): axum::extract::Path<String>,
) -> (StatusCode, Json<serde_json::Value>) {
    let absent = serde_json::json!({"error": "no such bundle", "code": "bundle_not_found"});
    match canned.lock().unwrap().stored.contains_key(&id) {
        true => (StatusCode::OK, Json(serde_json::json!({}))),
        false => (StatusCode::NOT_FOUND, Json(absent)),
    }
}

async fn serve(canned: Canned) -> (Context, Shared) {
    let shared = Arc::new(Mutex::new(canned));
    let routes = Router::new()
        .route("/api/databind/upload", post(store))
        .route("/api/databind/{id}", get(show))
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
async fn an_existing_bundle_is_not_uploaded_again() {
    let (context, canned) = serve(Canned::default()).await;
    let dir = directory([("x", "1")]);
    let first = upload(&context, dir.path()).await.unwrap();
    assert!(first.uploaded, "{first:?}");
    let second = upload(&context, dir.path()).await.unwrap();
    let expected = UploadResult {
        uploaded: false,
        ..first
    };
    assert_eq!(second, expected);
    let canned = canned.lock().unwrap();
    assert_eq!(canned.uploads, 1);
    let name = dir.path().file_name().unwrap().to_str().unwrap();
    assert_eq!(canned.stored[&second.id], format!("{name}.zip"));
}

#[tokio::test]
async fn an_upload_is_retried_after_a_lost_connection() {
    for (drop_before, drop_after, uploads) in [(1, 0, 2), (0, 1, 1)] {
        let (context, canned) = serve(Canned {
            drop_before,
            drop_after,
            ..Canned::default()
        })
        .await;
        let dir = directory([("x", "some content")]);
        let uploaded = upload(&context, dir.path()).await.unwrap();
        let canned = canned.lock().unwrap();
        assert_eq!(
            canned.uploads, uploads,
            "{drop_before} before, {drop_after} after"
        );
        // The fake computes the id from the received content.
        assert!(
            canned.stored.contains_key(&uploaded.id),
            "{:?}",
            canned.stored
        );
    }
}

#[tokio::test]
async fn an_unexpected_id_is_an_error() {
    let (context, _) = serve(Canned {
        wrong_id: true,
        ..Canned::default()
    })
    .await;
    let dir = directory([("x", "1")]);
    let error = upload(&context, dir.path()).await.unwrap_err();
    assert_eq!(error.exit(), Exit::InfrastructureFailed, "{error}");
}

#[tokio::test]
async fn an_unreachable_director_is_reported_before_packing() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let context = Context {
        director: Director::at(&url).unwrap(),
        out: QUIET,
    };
    let dir = directory([("x", "1")]);
    let error = upload(&context, dir.path()).await.unwrap_err();
    assert_eq!(error.exit(), Exit::Unreachable, "{error}");
}

#[test]
fn a_directory_and_its_zip_have_the_same_file_names() {
    let dir = directory([
        ("data/users.csv", "id\n"),
        ("plan.jmx", "<x/>"),
        (".atqignore", ""),
    ]);
    let names = files(dir.path()).unwrap();
    assert_eq!(Vec::from_iter(&names), ["data/users.csv", "plan.jmx"]);
    let zip = tempfile::tempdir().unwrap();
    let path = zip.path().join("bundle.zip");
    let mut writer = zip::ZipWriter::new(File::create(&path).unwrap());
    let options = zip::write::SimpleFileOptions::default();
    writer.add_directory("data/", options).unwrap();
    for name in &names {
        writer.start_file(name, options).unwrap();
    }
    writer.finish().unwrap();
    assert_eq!(files(&path).unwrap(), names);
    std::fs::write(&path, "no zip").unwrap();
    assert!(
        files(&path)
            .unwrap_err()
            .to_string()
            .contains("cannot be uploaded")
    );
}

#![allow(clippy::unwrap_used)]
use super::*;
use crate::token::tests::token;
use std::collections::BTreeMap;

/// A configuration directory.
struct Home {
    dir: tempfile::TempDir,
    variables: BTreeMap<String, String>,
}

impl Home {
    fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            variables: BTreeMap::new(),
        }
    }

    fn file(self, name: &str, text: &str) -> Self {
        std::fs::write(self.dir.path().join(name), text).unwrap();
        self
    }

    /// Stores contexts; the last one is the current one.
    fn contexts(self, contexts: &[(&str, &str, u8)]) -> Self {
        let mut stored = Contexts::default();
        for (name, url, number) in contexts {
            stored.put(StoredContext {
                name: (*name).to_owned(),
                url: (*url).to_owned(),
                token: Some(token(*number).reveal()),
                ca: Some(format!("/{name}.pem").into()),
            });
        }
        stored
            .write(&self.dir.path().join("contexts.json"))
            .unwrap();
        self
    }

    fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.insert(name.to_owned(), value.to_owned());
        self
    }

    fn sources(&self) -> Sources {
        let variables = self.variables.clone();
        let variable = move |name: &str| variables.get(name).cloned();
        Sources::new(variable, Some(self.dir.path().join("config.yaml")))
    }

    fn resolve(&self, given: &Connection) -> Result<Settings, CliError> {
        Settings::resolve(given, &self.sources())
    }
}

fn url(url: &str) -> Connection {
    Connection {
        url: Some(url.to_owned()),
        ..Connection::default()
    }
}

fn context(name: &str) -> Connection {
    Connection {
        context: Some(name.to_owned()),
        ..Connection::default()
    }
}

/// URL, id of the token and context.
fn summary(settings: Settings) -> (String, Option<String>, Option<String>) {
    let id = settings.token.map(|own| own.token.id().to_string());
    (settings.url.unwrap_or_default(), id, settings.context)
}

fn expected(url: &str, number: u8, context: &str) -> (String, Option<String>, Option<String>) {
    let id = token(number).id().to_string();
    (url.to_owned(), Some(id), Some(context.to_owned()))
}

const STORED: &[(&str, &str, u8)] = &[("dev", "http://dev:1", 1), ("prod", "https://prod", 2)];

#[test]
fn the_command_line_overrides_the_environment_a_context_and_the_file() {
    let home = Home::new().file("config.yaml", "url: http://file:1");
    let seen = |home: &Home, given: &Connection| summary(home.resolve(given).unwrap());
    assert_eq!(seen(&home, &Connection::default()).0, "http://file:1");
    let home = home.contexts(STORED);
    let prod = expected("https://prod", 2, "prod");
    assert_eq!(seen(&home, &Connection::default()), prod);
    let home = home.variable("ATQ_CONTEXT", "dev");
    assert_eq!(
        seen(&home, &Connection::default()),
        expected("http://dev:1", 1, "dev")
    );
    let home = home.variable("ATQ_URL", "http://env:1");
    let env = seen(&home, &Connection::default());
    assert_eq!(env, ("http://env:1".to_owned(), None, None));
    assert_eq!(seen(&home, &context("prod")), prod);
    assert_eq!(seen(&home, &url("http://flag:1")).0, "http://flag:1");
}

#[test]
fn the_token_of_a_context_is_only_for_its_own_director() {
    let home = Home::new().contexts(STORED);
    let other = home.resolve(&url("https://other")).unwrap();
    assert!(other.token.is_none() && other.ca.is_none());
    let own = home.resolve(&url("https://prod/api/")).unwrap();
    assert_eq!(own.ca.as_deref(), Some(Path::new("/prod.pem")));
    assert_eq!(summary(own), expected("https://prod/api/", 2, "prod"));
    let both = Connection {
        context: Some("dev".to_owned()),
        ..url("https://prod")
    };
    let error = home.resolve(&both).unwrap_err();
    assert!(error.to_string().contains("`dev`"), "{error}");
}

#[test]
fn a_token_of_the_command_line_overrides_the_environment_and_that_a_context() {
    let home = Home::new()
        .contexts(STORED)
        .file("three", &token(3).reveal())
        .file("five", &token(5).reveal());
    let path = |name: &str| home.dir.path().join(name).display().to_string();
    let (three, five) = (path("three"), path("five"));
    let id = |home: &Home, given: &Connection| {
        home.resolve(given)
            .unwrap()
            .token
            .unwrap()
            .token
            .id()
            .to_string()
    };
    let number = |number: u8| token(number).id().to_string();
    let home = home.variable("ATQ_TOKEN_FILE", &three);
    assert_eq!(id(&home, &Connection::default()), number(3));
    let home = home.variable("ATQ_TOKEN", &format!("{}\n", token(4).reveal()));
    assert_eq!(id(&home, &Connection::default()), number(4));
    let flag = Connection {
        token_file: Some(five.into()),
        ..Connection::default()
    };
    assert_eq!(id(&home, &flag), number(5));
}

#[test]
fn a_malformed_token_and_an_unknown_context_are_usage_errors() {
    let home = Home::new().contexts(STORED);
    let error = home.resolve(&context("staging")).unwrap_err();
    assert_eq!(error.hint(), "known contexts: `dev`, `prod`");
    let home = home.variable("ATQ_TOKEN", "hunter2");
    let error = home.resolve(&Connection::default()).unwrap_err();
    assert!(!format!("{error:?}").contains("hunter2"));
    assert_eq!(error.exit(), crate::exit::Exit::Usage);
}

#[test]
fn files_are_not_read_when_the_command_line_is_complete() {
    let home = Home::new()
        .file("config.yaml", "}")
        .file("contexts.json", "}")
        .file("token", &token(1).reveal());
    let complete = Connection {
        ca: Some("/ca.pem".into()),
        token_file: Some(home.dir.path().join("token")),
        ..url("http://a:1")
    };
    home.resolve(&complete).unwrap();
    let error = home.resolve(&url("http://a:1")).unwrap_err();
    assert!(error.to_string().contains("contexts.json"), "{error}");
}

#[test]
fn empty_variables_count_as_missing() {
    let names = ["ATQ_URL", "ATQ_TOKEN", "ATQ_TOKEN_FILE", "ATQ_CONTEXT"];
    let home = names
        .into_iter()
        .fold(Home::new(), |home, name| home.variable(name, ""));
    let settings = home.resolve(&Connection::default()).unwrap();
    assert!(settings.url.is_none() && settings.token.is_none());
}

#[test]
fn tokens_that_others_can_read_cause_a_warning() {
    use std::os::unix::fs::PermissionsExt;
    let home = Home::new().contexts(STORED);
    let path = home.dir.path().join("contexts.json");
    assert!(home.resolve(&context("dev")).unwrap().warnings.is_empty());
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o644)).unwrap();
    let warnings = home.resolve(&context("dev")).unwrap().warnings;
    assert!(warnings[0].contains("chmod 600"), "{warnings:?}");
}

#[tokio::test]
async fn the_packaged_socket_is_the_default_while_a_director_listens() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("atq.sock");
    assert_eq!(default_url(&path).await, DEFAULT_URL);
    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    assert_eq!(
        default_url(&path).await,
        format!("unix://{}", path.display())
    );
    drop(listener);
    assert_eq!(default_url(&path).await, DEFAULT_URL);
}

#[test]
fn the_file_sets_url_and_ca() {
    let file = |text: &str| {
        read(
            &Home::new()
                .file("config.yaml", text)
                .dir
                .path()
                .join("config.yaml"),
        )
    };
    let complete = file(EXAMPLE).unwrap();
    assert_eq!(complete.url.unwrap(), "https://director.example.com:8443");
    assert_eq!(complete.ca.unwrap(), Path::new("/etc/ssl/director.pem"));
    let beside = file("ca: director.pem").unwrap().ca.unwrap();
    assert!(
        beside.is_absolute() && beside.ends_with("director.pem"),
        "{beside:?}"
    );
    assert_eq!(file("").unwrap().url, None);
    assert_eq!(read(Path::new("/no/such/file")).unwrap().url, None);
    let error = file("ulr: http://a:1").unwrap_err();
    assert!(error.to_string().contains("config.yaml"), "{error}");
    assert!(error.hint().contains("url:"), "{error:?}");
}

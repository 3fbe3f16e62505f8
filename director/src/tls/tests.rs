#![allow(clippy::unwrap_used)]

use super::*;
use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use std::os::unix::fs::symlink;

struct Home(tempfile::TempDir);

impl Home {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn files(&self) -> Files {
        Files {
            certificate: self.0.path().join("tls.crt"),
            key: self.0.path().join("tls.key"),
        }
    }

    fn write(&self, (certificate, key): &(String, String)) {
        fs::write(self.files().certificate, certificate).unwrap();
        fs::write(self.files().key, key).unwrap();
    }
}

/// A certificate and its key in PEM, valid between two years.
fn pair_for(years: std::ops::Range<i32>) -> (String, String) {
    let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
    params.not_before = date_time_ymd(years.start, 1, 1);
    params.not_after = date_time_ymd(years.end, 1, 1);
    let key = KeyPair::generate().unwrap();
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

fn pair() -> (String, String) {
    pair_for(2000..2200)
}

#[test]
fn each_fault_names_key_file_and_reason() {
    let home = Home::new();
    let (certificate, key) = pair();
    let (_, other) = pair();
    let cases: [(&str, &str, &str, &str); 6] = [
        ("", &key, "tls.certificate", "no certificate in PEM"),
        (&key, &key, "tls.certificate", "no certificate in PEM"),
        (&certificate, "", "tls.key", "no private key in PEM"),
        (
            &certificate,
            &certificate,
            "tls.key",
            "no private key in PEM",
        ),
        (
            &certificate,
            &other,
            "tls.key",
            "does not belong to the first certificate",
        ),
        (
            &certificate,
            "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
            "tls.key",
            "is encrypted",
        ),
    ];
    for (certificate, key, fault, reason) in cases {
        home.write(&(certificate.to_owned(), key.to_owned()));
        let error = home.files().load().unwrap_err();
        assert_eq!(error.key, fault, "{error}");
        let text = error.to_string();
        assert!(text.contains(reason) && text.contains("/tls."), "{text}");
    }
    fs::remove_file(home.files().key).unwrap();
    let error = home.files().load().unwrap_err();
    assert_eq!(
        (error.key, error.source.kind()),
        ("tls.key", io::ErrorKind::NotFound)
    );
}

#[test]
fn a_malformed_key_is_not_repeated_in_the_error() {
    let home = Home::new();
    let (certificate, _) = pair();
    home.write(&(certificate, "-----BEGIN PRIVATE KEY\nc2VjcmV0\n".to_owned()));
    let error = home.files().load().unwrap_err();
    assert!(
        !format!("{error} {error:?}").contains("c2VjcmV0"),
        "{error:?}"
    );
}

#[test]
fn the_validity_of_a_certificate_is_known() {
    let home = Home::new();
    let end = UnixTime::since_unix_epoch(Duration::from_secs(1_577_836_800));
    for (years, expected) in [
        (2000..2200, Validity::Valid),
        (2000..2020, Validity::Expired(end)),
        (2150..2200, Validity::NotYet),
    ] {
        home.write(&pair_for(years));
        let key = home.files().load().unwrap();
        assert_eq!(validity(&key.cert[0], UnixTime::now()), expected);
    }
    assert_eq!(text(end), "2020-01-01T00:00:00Z");
}

fn is_unchanged(check: &Check) -> bool {
    matches!(check, Check::Unchanged)
}

#[test]
fn changed_files_are_read_again_and_broken_ones_are_reported_once() {
    let home = Home::new();
    home.write(&pair());
    let certificate = Certificate::load(home.files()).unwrap();
    let mut watch = Watch::new(Arc::clone(&certificate));
    assert!(is_unchanged(&watch.check(false)));
    let first = certificate.current();

    let second = pair();
    home.write(&second);
    assert!(matches!(watch.check(false), Check::Reloaded));
    let current = certificate.current();
    assert_ne!(current.cert, first.cert);

    // The certificate is replaced before its key.
    let third = pair();
    fs::write(home.files().certificate, &third.0).unwrap();
    assert!(is_unchanged(&watch.check(false)), "not reported yet");
    fs::write(home.files().key, &third.1).unwrap();
    assert!(matches!(watch.check(false), Check::Reloaded));

    fs::write(home.files().key, &second.1).unwrap();
    assert!(is_unchanged(&watch.check(false)));
    assert!(matches!(watch.check(false), Check::Broken(_)));
    assert!(is_unchanged(&watch.check(false)), "reported once");
    assert!(matches!(watch.check(true), Check::Broken(_)), "on request");
    fs::remove_file(home.files().key).unwrap();
    assert!(is_unchanged(&watch.check(false)));
    assert!(matches!(watch.check(false), Check::Broken(_)));
    assert_ne!(certificate.current().cert, current.cert);
}

#[test]
fn a_replaced_link_is_a_change() {
    let home = Home::new();
    let dir = home.0.path();
    let link = |name: &str, (certificate, key): (String, String)| {
        fs::create_dir(dir.join(name)).unwrap();
        fs::write(dir.join(name).join("tls.crt"), certificate).unwrap();
        fs::write(dir.join(name).join("tls.key"), key).unwrap();
        symlink(name, dir.join("next")).unwrap();
        // As Kubernetes does: one rename replaces the directory of both files.
        fs::rename(dir.join("next"), dir.join("..data")).unwrap();
    };
    link("one", pair());
    for file in ["tls.crt", "tls.key"] {
        symlink(Path::new("..data").join(file), dir.join(file)).unwrap();
    }
    let certificate = Certificate::load(home.files()).unwrap();
    let mut watch = Watch::new(certificate);
    assert!(is_unchanged(&watch.check(false)));
    link("two", pair());
    assert!(matches!(watch.check(false), Check::Reloaded));
}

//! Keys about access: authentication, the Unix socket, and TLS.

use super::document::Section;
use super::{Fault, Origin, fields};
use crate::{groups, sockets, tls};
use atq_access::Role;
use std::path::PathBuf;

/// How clients are identified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Auth {
    /// Not at all: every client may do everything.
    Off,
    /// By tokens.
    Tokens,
}

/// Unix socket for clients on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Socket {
    /// Path of the socket.
    pub path: PathBuf,
    /// Name of the group that may connect; `None`: the group of the process.
    pub group: Option<String>,
    /// What a client of the socket may do.
    pub role: Role,
}

impl Socket {
    /// Reads `socket`, `socketGroup` and `socketRole`.
    pub(super) fn read(section: &mut Section<'_>) -> Option<Self> {
        let path = section.optional("socket", fields::path);
        let group = section.optional("socketGroup", fields::word);
        let role = section.or("socketRole", fields::role, Role::Admin);
        path.map(|path| Self { path, group, role })
    }

    /// Faults that depend on this machine. Blocks the thread.
    pub(super) fn faults(&self) -> Vec<Fault> {
        let fault = |key: &str, message| Fault {
            key: key.to_owned(),
            place: Origin::Missing,
            message,
            missing: false,
        };
        let mut faults = Vec::new();
        let length = self.path.as_os_str().len();
        if length > sockets::MAX_PATH {
            let most = sockets::MAX_PATH;
            let message =
                format!("must have at most {most} bytes as an absolute path, not {length}");
            faults.push(fault("socket", message));
        }
        if let Some(group) = &self.group
            && groups::id(group).is_none()
        {
            let message = format!("must be a group of this machine, not `{group}`");
            faults.push(fault("socketGroup", message));
        }
        faults
    }
}

/// Certificate of the main port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// PEM file with the certificate and its chain.
    pub certificate: PathBuf,
    /// PEM file with the private key.
    pub key: PathBuf,
}

impl Tls {
    /// Both files.
    pub fn files(&self) -> tls::Files {
        tls::Files {
            certificate: self.certificate.clone(),
            key: self.key.clone(),
        }
    }

    /// Reads `tls`: both files, or none.
    pub(super) fn read(section: &mut Section<'_>) -> Option<Self> {
        let certificate = section.optional("certificate", fields::path);
        let key = section.optional("key", fields::path);
        let (given, missing) = match (&certificate, &key) {
            (Some(_), None) => ("certificate", Some("key")),
            (None, Some(_)) => ("key", Some("certificate")),
            _ => ("", None),
        };
        if let Some(missing) = missing {
            let message = format!("is missing; `tls.{given}` needs it");
            section.fault(missing, Origin::Missing, message);
        }
        section.finish();
        Some(Self {
            certificate: certificate?,
            key: key?,
        })
    }
}

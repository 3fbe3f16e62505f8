//! Roles, permissions, and the client of a request.

use crate::session::SessionId;
use crate::token::TokenId;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What a client may do. Each role includes those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Reads tasks, logs, results, reports and bundles.
    Viewer,
    /// Also uploads bundles, and starts, stops and deletes tasks.
    Runner,
    /// Also manages tokens, and reads the join tokens of the Swarm.
    Admin,
}

impl Role {
    /// All roles, the weakest first.
    pub const ALL: [Self; 3] = [Self::Viewer, Self::Runner, Self::Admin];

    /// Whether the role includes the permission.
    pub const fn may(self, permission: Permission) -> bool {
        match permission {
            Permission::Public | Permission::Read => true,
            Permission::Run => matches!(self, Self::Runner | Self::Admin),
            Permission::Administer => matches!(self, Self::Admin),
        }
    }

    /// The weakest role that includes the permission.
    pub const fn needed_for(permission: Permission) -> Self {
        match permission {
            Permission::Public | Permission::Read => Self::Viewer,
            Permission::Run => Self::Runner,
            Permission::Administer => Self::Admin,
        }
    }

    /// The name in configuration, API and audit log.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Runner => "runner",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a route requires.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Permission {
    /// Nothing: probes, the description of the API.
    Public,
    /// To read.
    Read,
    /// To change tasks and bundles.
    Run,
    /// To change who has access, and to read what gives access to nodes.
    Administer,
}

impl Permission {
    /// The name in the description of the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Read => "read",
            Self::Run => "run",
            Self::Administer => "administer",
        }
    }
}

/// The client of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// Its name, for events and the audit log.
    pub name: String,
    /// Its role.
    pub role: Role,
    /// How it was identified.
    pub via: Via,
}

/// How a client was identified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Via {
    /// Not at all: authentication is off.
    Nothing,
    /// By a token.
    Token(TokenId),
    /// By the session cookie of a browser, which was exchanged for a token.
    Session(TokenId, SessionId),
    /// By the user id of the process at the other end of a Unix socket.
    Socket(u32),
    /// By its connection to the control socket in the data directory, as a process with this user id.
    Control(u32),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_needed_role_is_the_weakest_that_suffices() {
        for permission in [
            Permission::Public,
            Permission::Read,
            Permission::Run,
            Permission::Administer,
        ] {
            let weakest = Role::ALL.into_iter().find(|role| role.may(permission));
            assert_eq!(weakest, Some(Role::needed_for(permission)));
        }
    }

    #[test]
    fn each_role_includes_those_before_it() {
        let table = Role::ALL.map(|role| {
            [
                Permission::Public,
                Permission::Read,
                Permission::Run,
                Permission::Administer,
            ]
            .map(|permission| role.may(permission))
        });
        assert_eq!(
            table,
            [
                [true, true, false, false],
                [true, true, true, false],
                [true, true, true, true]
            ]
        );
    }
}

//! Tokens of clients: `atq_<id>_<secret>`, sent as `Authorization: Bearer <token>`.

use serde::{Deserialize, Serialize};
use std::fmt;
use utoipa::ToSchema;

/// What a client may do. Each role includes those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum TokenRole {
    /// Reads tasks, logs, results, reports and bundles.
    Viewer,
    /// Also uploads bundles, and starts, stops and deletes tasks.
    Runner,
    /// Also manages tokens, and reads the join tokens of the Swarm.
    Admin,
}

/// A request for a new token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TokenCreate {
    /// Name of the owner, for events and the audit log.
    #[schema(example = "jenkins")]
    pub name: String,
    /// What the token allows.
    pub role: TokenRole,
    /// Lifetime in seconds; 0: the token never expires. Default: 7776000 (90 days).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0, example = 7776000)]
    pub expires_in: Option<u64>,
}

/// A new token. This is the only response that contains the secret.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TokenCreated {
    /// Public part of the token, to list and to revoke it.
    #[schema(example = "01020304ff")]
    pub id: String,
    /// The token with its secret. The Director stores only a digest and cannot show it again.
    pub token: String,
    /// Name of the owner.
    pub name: String,
    /// What the token allows.
    pub role: TokenRole,
    /// Time at which it expires; absent: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
}

impl fmt::Debug for TokenCreated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the secret.
        f.debug_struct("TokenCreated")
            .field("id", &self.id)
            .field("name", &self.name)
            .field("role", &self.role)
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
}

/// A token without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TokenInfo {
    /// Public part of the token.
    #[schema(example = "01020304ff")]
    pub id: String,
    /// Name of the owner.
    pub name: String,
    /// What the token allows.
    pub role: TokenRole,
    /// Time of its creation.
    pub created: String,
    /// Time at which it expires; absent: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
    /// Time of its last use, to the minute; absent: unused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_used: Option<String>,
    /// Time of its revocation; absent: not revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked: Option<String>,
}

/// Tokens, oldest first: all for an admin, else only the caller's own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TokenList {
    /// The tokens.
    pub tokens: Vec<TokenInfo>,
}

/// A request to exchange the JWT of a CI job for a short-lived token. The response is a [`TokenCreated`].
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenExchange {
    /// The JWT.
    pub jwt: String,
}

impl fmt::Debug for TokenExchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the JWT.
        f.debug_struct("TokenExchange").finish_non_exhaustive()
    }
}

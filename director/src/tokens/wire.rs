//! Conversions between tokens and the types of the API.

use super::{DEFAULT_LIFETIME, NewToken, expiry};
use atq_access::{Role, Token, TokenRecord, check_name};
use atq_api_spec::token::{TokenCreate, TokenCreated, TokenInfo, TokenRole};
use atq_task::timestamp::Timestamp;

/// Maximum lifetime in seconds: ten years.
pub const MAX_LIFETIME: u64 = 10 * 365 * 86_400;

/// The token that a client requests.
///
/// # Errors
/// A description of the invalid field.
pub fn requested(wanted: TokenCreate) -> Result<NewToken, String> {
    check_name(&wanted.name).map_err(|error| format!("`name`: {error}"))?;
    let lifetime = wanted.expires_in.unwrap_or(DEFAULT_LIFETIME.as_secs());
    if lifetime > MAX_LIFETIME {
        return Err(format!(
            "`expiresIn`: must be at most {MAX_LIFETIME} seconds, or 0 for a token that never expires"
        ));
    }
    Ok(NewToken {
        name: wanted.name,
        role: match wanted.role {
            TokenRole::Viewer => Role::Viewer,
            TokenRole::Runner => Role::Runner,
            TokenRole::Admin => Role::Admin,
        },
        expires: expiry(lifetime),
    })
}

/// A new token, with its secret.
pub fn created(token: &Token, record: TokenRecord) -> TokenCreated {
    TokenCreated {
        id: record.id.to_string(),
        token: token.reveal(),
        name: record.name,
        role: role(record.role),
        expires: record.expires.map(time),
    }
}

/// A token without its secret.
pub fn info(record: TokenRecord) -> TokenInfo {
    TokenInfo {
        id: record.id.to_string(),
        name: record.name,
        role: role(record.role),
        created: time(record.created),
        expires: record.expires.map(time),
        last_used: record.last_used.map(time),
        revoked: record.revoked.map(time),
    }
}

/// The role.
pub fn role(role: Role) -> TokenRole {
    match role {
        Role::Viewer => TokenRole::Viewer,
        Role::Runner => TokenRole::Runner,
        Role::Admin => TokenRole::Admin,
    }
}

/// Formats seconds since the Unix epoch.
fn time(seconds: u64) -> String {
    Timestamp(seconds.saturating_mul(1000)).to_string()
}

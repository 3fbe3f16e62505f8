//! Access to the Director: who a client is, and what it may do. Pure: no clock, no store, no HTTP types.
//!
//! - [`Role`] and [`Permission`]: the table of what each role may do;
//! - [`Token`]: the secret of a client, and [`TokenRecord`], the part of it that is stored;
//! - [`Sessions`]: sessions of browsers; [`FailedAttempts`]: the limit of attempts to sign in; [`local_path`]: where a
//!   browser continues;
//! - [`HostRule`]: names under which the Director may be addressed, against DNS rebinding;
//! - [`is_foreign`]: requests that a page of another site has caused;
//! - [`exchange`]: the JWT of a CI job, which is exchanged for a token.
//!
//! ```
//! use atq_access::{Permission, Role};
//!
//! assert!(Role::Runner.may(Permission::Run));
//! assert!(!Role::Viewer.may(Permission::Run));
//! ```

mod attempts;
mod destination;
pub mod exchange;
mod host;
mod origin;
mod role;
mod session;
mod token;

pub use attempts::{FailedAttempts, client_of};
pub use destination::local_path;
pub use host::{HostError, HostRule};
pub use origin::{Request, is_foreign};
pub use role::{Permission, Principal, Role, Via};
pub use session::{SESSION_SECONDS, Session, SessionId, SessionSecret, Sessions};
pub use token::{
    ANONYMOUS, InvalidName, InvalidToken, Token, TokenId, TokenRecord, TokenState, check_name,
};

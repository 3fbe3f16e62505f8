//! Notifications of what an engine does.

use crate::Node;
use std::time::Duration;

/// Is notified of the work of an engine, for example to count it. Its methods must return at once.
pub trait EngineObserver: Send + Sync + 'static {
    /// A call of the engine's interface has ended after `duration`. A call that returns a stream ends with the beginning
    /// of the stream. `call` and `result` are from fixed sets: `result` is [`OK`], [`CANCELLED`] or the code of an
    /// [`EngineError`](crate::EngineError).
    fn called(&self, call: &'static str, result: &'static str, duration: Duration);

    /// The engine has listed all nodes of its cluster.
    fn listed(&self, nodes: &[Node]);
}

/// Result of a successful call.
pub const OK: &str = "ok";

/// Result of a call whose caller did not wait for its end.
pub const CANCELLED: &str = "cancelled";

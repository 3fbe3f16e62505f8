//! Catches panics of sled. On damaged files it sometimes panics instead of returning an error; users need
//! an error message, not a backtrace.

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;

thread_local! {
    /// True while [`catch_panic`] runs on this thread.
    static SILENCED: Cell<bool> = const { Cell::new(false) };
}

/// Runs `work`; if it panics, returns the panic message as an error and prints nothing.
///
/// # Errors
/// If `work` panicked.
pub(super) fn catch_panic<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let print = take_hook();
        set_hook(Box::new(move |panic| {
            if !SILENCED.get() {
                print(panic);
            }
        }));
    });
    let outer = SILENCED.replace(true);
    let done = catch_unwind(AssertUnwindSafe(work));
    SILENCED.set(outer);
    done.map_err(|panic| text(&*panic))
}

fn text(panic: &(dyn Any + Send)) -> String {
    let text = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied());
    format!(
        "its files are damaged ({})",
        text.unwrap_or("sled panicked without a message")
    )
}

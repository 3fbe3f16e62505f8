//! How far it is: a bar where somebody watches, one line elsewhere.

use crate::out::Out;
use indicatif::{ProgressBar, ProgressStyle};

/// Progress in bytes. The bar goes away when this is dropped.
#[derive(Debug, Clone)]
pub struct Meter {
    bar: Option<ProgressBar>,
}

impl Meter {
    /// Begins; `what` says in a few words what is being done, and `bytes` how much of it there is.
    pub fn begin(out: Out, what: &str, bytes: u64) -> Self {
        if !out.watched {
            out.progress(format!("{what}, {}", super::size(bytes)));
            return Self { bar: None };
        }
        let style = ProgressStyle::with_template(
            "{msg} [{bar:30}] {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left",
        );
        let bar = ProgressBar::new(bytes);
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.set_message(what.to_owned());
        Self { bar: Some(bar) }
    }

    /// So many bytes more.
    pub fn add(&self, bytes: u64) {
        if let Some(bar) = &self.bar {
            bar.inc(bytes);
        }
    }

    /// The end.
    pub fn end(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}

//! Progress of packing and uploading: a progress bar on a terminal, a single line elsewhere.

use crate::out::Out;
use indicatif::{ProgressBar, ProgressStyle};

/// Progress in bytes. The bar is removed on drop.
#[derive(Debug, Clone)]
pub struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// Starts the progress; `what` is a short description, `bytes` the total.
    pub fn begin(out: Out, what: &str, bytes: u64) -> Self {
        if !out.is_interactive {
            out.progress(format!("{what}, {}", super::format_size(bytes)));
            return Self {
                bar: ProgressBar::hidden(),
            };
        }
        let style = ProgressStyle::with_template(
            "{msg} [{bar:30}] {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left",
        );
        let bar = ProgressBar::new(bytes);
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.set_message(what.to_owned());
        Self { bar }
    }

    /// Advances by this number of bytes.
    pub fn add(&self, bytes: u64) {
        self.bar.inc(bytes);
    }

    /// Removes the bar.
    pub fn end(self) {
        self.bar.finish_and_clear();
    }
}

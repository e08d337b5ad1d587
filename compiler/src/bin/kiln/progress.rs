//! What is being done, on a terminal; nothing in a pipe.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// A line that says what is being done, until it is dropped.
pub(crate) struct Doing(ProgressBar);

impl Doing {
    /// Begins.
    pub(crate) fn new(what: impl Into<String>) -> Self {
        // The bar hides itself where standard error is not a terminal.
        let bar = ProgressBar::new_spinner().with_message(what.into());
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} ({elapsed})") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(100));
        Doing(bar)
    }

    /// Goes on with something else.
    pub(crate) fn now(&self, what: impl Into<String>) {
        self.0.set_message(what.into());
    }
}

impl Drop for Doing {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

//! What is being done, on a terminal; nothing in a pipe.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::report::say;

const SPINNER: &str = "{spinner} {msg} ({elapsed})";
const COUNTER: &str = "{spinner} {msg} {bar:30} {pos} of {len} ({elapsed}, {eta} to go)";

/// A line that says what is being done, until it is dropped.
pub(crate) struct Doing(ProgressBar);

impl Doing {
    /// Begins.
    pub(crate) fn new(what: impl Into<String>) -> Self {
        // The bar hides itself where standard error is not a terminal.
        let bar = ProgressBar::new_spinner().with_message(what.into());
        set_style(&bar, SPINNER);
        bar.enable_steady_tick(Duration::from_millis(100));
        Doing(bar)
    }

    /// Goes on with something else.
    pub(crate) fn now(&self, what: impl Into<String>) {
        set_style(&self.0, SPINNER);
        self.0.set_message(what.into());
    }

    /// Goes on with something that has so many parts, and shows how many of them are done where there are several.
    pub(crate) fn now_counting(&self, what: impl Into<String>, parts: usize) {
        self.now(what);
        if parts > 1 {
            self.0.set_length(parts as u64);
            self.0.set_position(0);
            set_style(&self.0, COUNTER);
        }
    }

    /// Says something that stays.
    pub(crate) fn note(&self, what: &str) {
        self.0.suspend(|| say(what));
    }

    /// One part is done.
    pub(crate) fn one_done(&self) {
        self.0.inc(1);
    }
}

fn set_style(bar: &ProgressBar, template: &str) {
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
}

impl Drop for Doing {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

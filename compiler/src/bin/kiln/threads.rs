//! `--threads`: how many threads an emitted crate runs on.

use std::thread::available_parallelism;

use kiln_rt::session::Threads;

use crate::report::say;

/// The argument that says how many.
#[derive(clap::Args)]
pub(crate) struct ThreadCount {
    /// Threads of the emitted crate; at most as many as this machine runs at once
    #[arg(long, default_value_t = 1, value_parser = thread_count)]
    threads: usize,
    /// So many threads, even where this machine runs fewer at once
    #[arg(long, value_name = "THREADS", conflicts_with = "threads", value_parser = thread_count)]
    exact_threads: Option<usize>,
}

impl ThreadCount {
    /// How many threads to run on. Where that is less than was said, it says so.
    pub(crate) fn count(&self) -> usize {
        let most = available_parallelism().map_or(usize::MAX, usize::from);
        let asked = self.exact_threads.unwrap_or(self.threads);
        if self.exact_threads.is_some() || asked <= most {
            return asked;
        }
        let plural = if most == 1 { "" } else { "s" };
        say(&format!(
            "{most} thread{plural} in place of {asked}: this machine runs no more at once; `--exact-threads {asked}` takes all"
        ));
        most
    }
}

/// Reads a number of threads.
fn thread_count(text: &str) -> Result<usize, String> {
    let most = Threads::MOST;
    let count = text.parse().ok().filter(|count| (1..=most).contains(count));
    count.ok_or_else(|| format!("kiln runs on 1 to {most} threads"))
}

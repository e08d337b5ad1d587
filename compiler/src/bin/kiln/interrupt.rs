//! What goes when a signal ends the program: temporary folders, and the processes that work in them.

use std::io;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

static LIVE: Mutex<Live> = Mutex::new(Live { folders: Vec::new(), parents: Vec::new(), processes: Vec::new() });

/// What is there for now.
pub(crate) struct Live {
    /// Temporary folders, which go with all that is in them.
    pub(crate) folders: Vec<PathBuf>,
    /// Folders that were made around an output, the innermost first; they go where they are empty.
    pub(crate) parents: Vec<PathBuf>,
    /// Processes that lead a group of their own.
    processes: Vec<u32>,
}

/// What is there for now. While a caller holds it, no signal ends the program.
pub(crate) fn live() -> MutexGuard<'static, Live> {
    LIVE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Lets SIGINT and SIGTERM end the program only once nothing of it is left. Where that cannot be had, the next start
/// removes what is left.
#[cfg(unix)]
pub(crate) fn clean_up_on_signals() {
    use signal_hook::consts::{SIGINT, SIGTERM};
    let Ok(mut signals) = signal_hook::iterator::Signals::new([SIGINT, SIGTERM]) else { return };
    std::thread::spawn(move || {
        if let Some(signal) = signals.forever().next() {
            // It stays held: whoever makes or runs something more waits until the program is gone.
            let live = live();
            live.clean_up();
            // What a signal does by itself, so that a shell sees what ended the program.
            signal_hook::low_level::emulate_default_handler(signal).ok();
            std::process::exit(128 + signal);
        }
    });
}

/// Without signals, the next start removes what is left.
#[cfg(not(unix))]
pub(crate) fn clean_up_on_signals() {}

/// A program's status and all that it printed. With its own child processes it ends where a signal ends this one.
pub(crate) fn output(command: &mut Command) -> io::Result<Output> {
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(command, 0);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut held = live();
    let child = command.spawn()?;
    let id = child.id();
    held.processes.push(id);
    drop(held);
    let output = child.wait_with_output();
    live().processes.retain(|&other| other != id);
    output
}

impl Live {
    #[cfg(unix)]
    fn clean_up(&self) {
        use std::fs;
        use std::time::Duration;

        use crate::temporary;

        for &process in &self.processes {
            if let Some(group) = i32::try_from(process).ok().and_then(rustix::process::Pid::from_raw) {
                rustix::process::kill_process_group(group, rustix::process::Signal::KILL).ok();
            }
        }
        // A process that is being killed may still finish a file.
        for _ in 0..100 {
            if self.folders.iter().all(|folder| temporary::remove(folder).is_ok()) {
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        for folder in &self.parents {
            fs::remove_dir(folder).ok();
        }
    }
}

//! Workers of a session: one fork per inference, barriers in between, parked otherwise.
//!
//! A pool of one runs on the caller's thread alone and touches no lock and no atomic. Its workers wake when [`Pool::run`]
//! is called, meet at barriers as often as the body says, and wait without spinning once it returns, so a session at
//! rest costs its neighbours nothing. At a barrier a worker spins for [`SPIN`] at most, then sleeps.

use std::hint::spin_loop;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How long a barrier spins before it sleeps: a few times what waking a thread costs.
pub const SPIN: Duration = Duration::from_micros(50);

/// One worker's view of a run.
pub struct Team<'a> {
    barrier: &'a Barrier,
    worker: usize,
    workers: usize,
}

impl Team<'_> {
    /// Which worker this is, from 0; the caller's thread is 0.
    pub fn worker(&self) -> usize {
        self.worker
    }

    /// How many workers take part.
    pub fn workers(&self) -> usize {
        self.workers
    }

    /// Waits until every worker has come here; what each wrote before, all see after. All workers call it equally often.
    pub fn meet(&self) {
        if self.workers > 1 {
            self.barrier.wait(self.workers);
        }
    }
}

/// The threads of one session. Dropping it joins them.
pub struct Pool {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl Pool {
    /// A pool of `workers`, the caller's thread among them, so one thread fewer is started. Where the system refuses a
    /// thread the pool has fewer workers: results do not depend on their number.
    pub fn new(workers: usize) -> Self {
        let shared = Arc::new(Shared::default());
        let mut threads = Vec::new();
        for worker in 1..workers {
            let shared = Arc::clone(&shared);
            let started = thread::Builder::new().name(format!("kiln-{worker}")).spawn(move || shared.serve(worker));
            match started {
                Ok(thread) => threads.push(thread),
                Err(_) => break,
            }
        }
        Self { shared, threads }
    }

    /// How many workers a run has.
    pub fn workers(&self) -> usize {
        self.threads.len() + 1
    }

    /// Runs `body` once on every worker and returns when all are done. A panic in it ends the process: the other
    /// workers would wait for ever, or go on with what the caller has lent them.
    pub fn run(&mut self, body: &(dyn Fn(Team<'_>) + Sync)) {
        let workers = self.workers();
        let barrier = &self.shared.barrier;
        if workers == 1 {
            return body(Team { barrier, worker: 0, workers });
        }
        let lent: *const (dyn Fn(Team<'_>) + Sync) = body;
        // SAFETY: only the lifetime is erased. Workers follow the pointer between the fork below and the barrier at the
        // end of this function, which is passed only when all of them are done with it, and which no panic skips.
        let body_for_workers = unsafe { std::mem::transmute::<*const (dyn Fn(Team<'_>) + Sync), Body>(lent) };
        let panics = AbortOnPanic;
        {
            let mut gate = self.shared.gate();
            gate.job = Some(Job { body: body_for_workers, workers });
            gate.round = gate.round.wrapping_add(1);
            self.shared.opened.notify_all();
        }
        body(Team { barrier, worker: 0, workers });
        barrier.wait(workers);
        std::mem::forget(panics);
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        {
            let mut gate = self.shared.gate();
            gate.job = None;
            gate.round = gate.round.wrapping_add(1);
            self.shared.opened.notify_all();
        }
        for thread in self.threads.drain(..) {
            // A worker's panic has ended the process, so join has no error to report.
            let _ = thread.join();
        }
    }
}

type Body = *const (dyn Fn(Team<'_>) + Sync);

/// What the workers of one pool share.
#[derive(Default)]
struct Shared {
    gate: Mutex<Gate>,
    opened: Condvar,
    barrier: Barrier,
}

/// A job is published by a new round; a round without a job ends the workers.
#[derive(Default)]
struct Gate {
    round: u64,
    job: Option<Job>,
}

#[derive(Clone, Copy)]
struct Job {
    body: Body,
    workers: usize,
}

// SAFETY: the body is Sync, so any thread may call it; that it is alive is Pool::run's part.
unsafe impl Send for Job {}

impl Shared {
    fn gate(&self) -> MutexGuard<'_, Gate> {
        // Nothing panics while the gate is locked, so its state is whole even if it were poisoned.
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The life of worker `worker`: park, run, meet, until a round brings no job.
    fn serve(&self, worker: usize) {
        let panics = AbortOnPanic;
        let mut round = 0;
        loop {
            let job = {
                let mut gate = self.gate();
                while gate.round == round {
                    gate = self.opened.wait(gate).unwrap_or_else(PoisonError::into_inner);
                }
                round = gate.round;
                gate.job
            };
            let Some(Job { body, workers }) = job else { break };
            // SAFETY: Pool::run lends the body until all workers have passed the barrier below, this one included. It
            // cannot publish another round before, so this worker misses none.
            let body = unsafe { &*body };
            body(Team { barrier: &self.barrier, worker, workers });
            self.barrier.wait(workers);
        }
        std::mem::forget(panics);
    }
}

/// A barrier that can be used again at once: its generation is the sense that each round reverses.
#[derive(Default)]
struct Barrier {
    arrived: AtomicUsize,
    generation: AtomicUsize,
    sleepers: AtomicUsize,
    lock: Mutex<()>,
    passed: Condvar,
}

impl Barrier {
    /// Returns when `workers` threads have called it.
    fn wait(&self, workers: usize) {
        // The generation cannot change before this thread has arrived.
        let generation = self.generation.load(Ordering::Relaxed);
        // AcqRel: the last to arrive sees what all others wrote before they arrived.
        if self.arrived.fetch_add(1, Ordering::AcqRel) + 1 == workers {
            // Nobody arrives again before the new generation is seen, so the reset is ordered by its publication.
            self.arrived.store(0, Ordering::Relaxed);
            // SeqCst here and in sleep(): either the sleeper sees the new generation, or this thread sees the sleeper.
            self.generation.store(generation.wrapping_add(1), Ordering::SeqCst);
            if self.sleepers.load(Ordering::SeqCst) > 0 {
                // A sleeper holds the lock from its check to its wait, so it cannot miss this.
                drop(self.lock.lock().unwrap_or_else(PoisonError::into_inner));
                self.passed.notify_all();
            }
        } else if !self.spin(generation) {
            self.sleep(generation);
        }
    }

    /// Spins until the generation changes; false when the time is up.
    fn spin(&self, generation: usize) -> bool {
        let start = Instant::now();
        loop {
            for _ in 0..64 {
                // Acquire: what all wrote before the barrier, through the last to arrive.
                if self.generation.load(Ordering::Acquire) != generation {
                    return true;
                }
                spin_loop();
            }
            if start.elapsed() > SPIN {
                return false;
            }
        }
    }

    fn sleep(&self, generation: usize) {
        let mut guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        self.sleepers.fetch_add(1, Ordering::SeqCst);
        while self.generation.load(Ordering::SeqCst) == generation {
            guard = self.passed.wait(guard).unwrap_or_else(PoisonError::into_inner);
        }
        self.sleepers.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Ends the process when dropped, which happens only while a panic unwinds.
struct AbortOnPanic;

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        std::process::abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_worker_runs_once_a_run() {
        for workers in [1, 2, 3, 5] {
            let mut pool = Pool::new(workers);
            let runs: Vec<AtomicUsize> = (0..workers).map(|_| AtomicUsize::new(0)).collect();
            for _ in 0..50 {
                pool.run(&|team| {
                    assert_eq!(team.workers(), workers);
                    runs[team.worker()].fetch_add(1, Ordering::Relaxed);
                });
            }
            assert!(runs.iter().all(|runs| runs.load(Ordering::Relaxed) == 50));
        }
    }

    #[test]
    fn a_barrier_publishes_what_was_written_before() {
        let mut pool = Pool::new(3);
        let cells: Vec<AtomicUsize> = (0..3).map(|_| AtomicUsize::new(0)).collect();
        pool.run(&|team| {
            for round in 1..=200 {
                cells[team.worker()].store(round, Ordering::Relaxed);
                team.meet();
                assert!(cells.iter().all(|cell| cell.load(Ordering::Relaxed) == round));
                team.meet();
            }
        });
    }

    #[test]
    fn a_late_worker_is_waited_for() {
        let mut pool = Pool::new(2);
        let done = AtomicUsize::new(0);
        pool.run(&|team| {
            // Longer than a barrier spins, so both ways of waiting are taken.
            if team.worker() == 1 {
                thread::sleep(20 * SPIN);
            }
            team.meet();
            if team.worker() == 0 {
                thread::sleep(20 * SPIN);
            }
            done.fetch_add(1, Ordering::Relaxed);
        });
        assert_eq!(done.load(Ordering::Relaxed), 2);
    }
}

//! Compares random networks with the graph interpreter for as long as one likes: each as it was declared, as the e-graph
//! rewrites it and as the rules by hand do, in the kernel interpreter for all targets. CONTRIBUTING.md has the commands.

#[path = "../it/oracle.rs"]
mod oracle;
#[path = "../it/random/mod.rs"]
mod random;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use kiln_compiler::graph::text;

use oracle::Verdict;

const USAGE: &str = "\
Compares random networks with the graph interpreter.

  --seconds N   networks of fresh seeds, for so long (default: 30)
  --nets N      so many networks instead
  --seed N      start at this seed; without --nets or --seconds the one network alone, with its text
  --size N      so many layers, in place of as many as the seed says
  --threads N   default: as many as there are processors";

/// What is asked for.
#[derive(Default)]
struct Options {
    seconds: Option<u64>,
    nets: Option<u64>,
    seed: Option<u64>,
    size: Option<usize>,
    threads: Option<usize>,
}

impl Options {
    fn parse(arguments: impl Iterator<Item = String>) -> Result<Options, String> {
        let mut options = Options::default();
        let mut arguments = arguments;
        while let Some(flag) = arguments.next() {
            let number = arguments.next().and_then(|text| text.parse::<u64>().ok());
            let number = number.ok_or_else(|| format!("`{flag}` stands without a number"))?;
            match &*flag {
                "--seconds" => options.seconds = Some(number),
                "--nets" => options.nets = Some(number),
                "--seed" => options.seed = Some(number),
                "--size" => options.size = Some(number.clamp(1, 1000) as usize),
                "--threads" => options.threads = Some(number.clamp(1, 1000) as usize),
                _ => return Err(format!("there is no option `{flag}`")),
            }
        }
        Ok(options)
    }

    fn size(&self, seed: u64) -> usize {
        self.size.unwrap_or_else(|| random::size(seed))
    }
}

/// What came out so far.
#[derive(Default)]
struct Found {
    compared: u64,
    ill_conditioned: u64,
    differ: u64,
    /// The largest error, and the seed that has it.
    largest: (f64, u64),
}

/// Compares one network. A panic is a difference too.
fn compare(seed: u64, size: usize) -> Result<Verdict, String> {
    let compared =
        catch_unwind(AssertUnwindSafe(|| oracle::compare_all_forms(random::network(seed, size), &random::WEIGHTS)));
    compared.unwrap_or_else(|panic| {
        let message = panic.downcast_ref::<String>().cloned();
        let message = message.or_else(|| panic.downcast_ref::<&str>().map(|&text| text.to_owned()));
        Err(format!("panicked: {}", message.unwrap_or_default()))
    })
}

/// A network that differs, with as few of its layers as still do.
fn report(seed: u64, size: usize, why: String) -> String {
    let smaller = (1..size).find_map(|size| Some((size, compare(seed, size).err()?)));
    let (size, why) = smaller.unwrap_or((size, why));
    let graph = text::print(&random::network(seed, size));
    format!(
        "seed {seed}: {why}\nagain: cargo run --release --example random_nets -- --seed {seed} --size {size}\n\n{graph}"
    )
}

/// Compares networks of seeds from `first` on, until there are enough.
fn search(options: &Options, first: u64) -> Found {
    let start = Instant::now();
    let limit = options.seconds.or(if options.nets.is_none() { Some(30) } else { None }).map(Duration::from_secs);
    let (next, found) = (AtomicU64::new(0), Mutex::new(Found::default()));
    let work = || {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let is_enough = options.nets.is_some_and(|nets| number >= nets);
            if is_enough || limit.is_some_and(|limit| start.elapsed() >= limit) {
                return;
            }
            let seed = first.wrapping_add(number);
            let size = options.size(seed);
            let result = compare(seed, size);
            let said = match &result {
                Ok(Verdict::Near(_)) => None,
                Ok(Verdict::IllConditioned(why)) => Some(format!("seed {seed} is ill-conditioned: {why}")),
                Err(why) => Some(report(seed, size, why.clone())),
            };
            let mut found = found.lock().expect("no thread panics here");
            match result {
                Ok(Verdict::Near(error)) => {
                    found.compared += 1;
                    if error > found.largest.0 {
                        found.largest = (error, seed);
                    }
                }
                Ok(Verdict::IllConditioned(_)) => found.ill_conditioned += 1,
                Err(_) => found.differ += 1,
            }
            if let Some(text) = said {
                println!("{text}");
            }
        }
    };
    let threads = options.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
    found.into_inner().expect("no thread panics here")
}

fn main() -> ExitCode {
    let mut options = match Options::parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(message) => {
            eprintln!("{message}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    if let (Some(seed), None, None) = (options.seed, options.nets, options.seconds) {
        println!("{}", text::print(&random::network(seed, options.size(seed))));
        options.nets = Some(1);
    }
    let fresh = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |time| time.as_nanos() as u64);
    let first = options.seed.unwrap_or_else(fresh);
    let start = Instant::now();
    let Found { compared, ill_conditioned, differ, largest: (error, seed) } = search(&options, first);
    println!(
        "seeds from {first}: {differ} of {} networks differ; {ill_conditioned} more are ill-conditioned; \
         largest error {error:.1e}, of seed {seed}; {:.0} s",
        compared + differ,
        start.elapsed().as_secs_f64()
    );
    if differ == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

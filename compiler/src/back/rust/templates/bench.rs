// __HEADER__
//! Times the network: `bench [--threads N] [--target T] [--input FILE]...` prints one JSON object.
//!
//! `--threads` is at most what the machine has, `--exact-threads` any number.
//! An input is a file of little-endian numbers, one for each input in order. Without files the inputs are random numbers,
//! about normal: constants, and zeros above all, are faster than data on some machines.
//! `median_ms` and `min_ms` are over `runs` warm runs. `steps` holds each step's kernel and the median of its time in
//! milliseconds, in order, over runs of their own, since taking the time takes some.

use std::time::Instant;

use __CRATE__::{DType, Elements, TensorInfo, Threads};

type Network = __CRATE__::__MODEL__;

const NAME: &str = "__MODEL__";

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> std::process::ExitCode {
    match bench() {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            std::process::ExitCode::FAILURE
        }
    }
}

fn bench() -> Result<()> {
    let (mut threads, mut target, mut files) = (Threads::new(1), None, Vec::new());
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let value = args.next().ok_or_else(|| format!("{arg} needs a value"))?;
        match arg.as_str() {
            "--threads" => threads = Threads::new(value.parse()?),
            "--exact-threads" => threads = Threads::exactly(value.parse()?),
            "--target" => target = Some(value.parse()?),
            "--input" => files.push(value),
            _ => return Err(format!("there is no option {arg}").into()),
        }
    }
    let model = match target {
        Some(target) => Network::load_for(target)?,
        None => Network::load()?,
    };
    let mut session = model.session(threads);
    let mut random = Random(1);
    let inputs: Vec<Numbers> = match files.is_empty() {
        true => Network::INPUTS.iter().map(|info| random.tensor(info)).collect(),
        false => files.iter().zip(Network::INPUTS).map(|(path, info)| read(path, info)).collect::<Result<_>>()?,
    };
    if inputs.len() != Network::INPUTS.len() {
        return Err(format!("{} files for {} inputs", inputs.len(), Network::INPUTS.len()).into());
    }
    let named: Vec<(&str, Elements<'_>)> =
        Network::INPUTS.iter().zip(&inputs).map(|(info, tensor)| (info.name, tensor.elements())).collect();
    let in_order: Vec<Elements<'_>> = inputs.iter().map(Numbers::elements).collect();

    let mut once = || -> Result<f64> {
        let start = Instant::now();
        session.run_elements(&named)?;
        Ok(start.elapsed().as_secs_f64() * 1e3)
    };
    let warm = (0..3).map(|_| once()).collect::<Result<Vec<f64>>>()?;
    let runs = ((3000.0 / warm[2]) as usize).clamp(10, 150);
    let mut times = (0..runs).map(|_| once()).collect::<Result<Vec<f64>>>()?;
    let (median, least) = median_and_least(&mut times);

    let mut by_step: Vec<(&str, Vec<f64>)> = Vec::new();
    for run in 0..runs.div_ceil(4) {
        for (index, step) in session.profile(&in_order)?.into_iter().enumerate() {
            if run == 0 {
                by_step.push((step.kernel, Vec::new()));
            }
            by_step[index].1.push(step.time.as_secs_f64() * 1e3);
        }
    }
    let steps: Vec<String> = by_step
        .iter_mut()
        .map(|(kernel, times)| format!("{{\"kernel\": \"{kernel}\", \"ms\": {:.5}}}", median_and_least(times).0))
        .collect();
    println!(
        "{{\"net\": \"{NAME}\", \"target\": \"{}\", \"threads\": {}, \"runs\": {runs}, \"median_ms\": {median:.4}, \
         \"min_ms\": {least:.4}, \"steps\": [{}]}}",
        model.target(),
        session.threads(),
        steps.join(", ")
    );
    Ok(())
}

/// The numbers of an input.
enum Numbers {
__VARIANTS__
}

impl Numbers {
    fn elements(&self) -> Elements<'_> {
        match self {
__ELEMENTS__
        }
    }
}

/// The numbers of a file.
fn read(path: &str, info: &TensorInfo) -> Result<Numbers> {
    let data = std::fs::read(path).map_err(|error| format!("{path}: {error}"))?;
    Ok(numbers(info.dtype, &data))
}

fn numbers(dtype: DType, data: &[u8]) -> Numbers {
    match dtype {
__FROM_BYTES__
    }
}

fn median_and_least(times: &mut [f64]) -> (f64, f64) {
    times.sort_by(f64::total_cmp);
    (times[times.len() / 2], times[0])
}

/// Splitmix64 (Steele, Lea and Flood 2014).
struct Random(u64);

impl Random {
    fn uniform(&mut self) -> f32 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 40) as f32 / (1u64 << 24) as f32
    }

    /// Sums of four uniform numbers, with mean 0 and variance 1; integers of any bytes.
    fn tensor(&mut self, info: &TensorInfo) -> Numbers {
        let mut number = || ((0..4).map(|_| self.uniform()).sum::<f32>() - 2.0) * 3f32.sqrt();
        let data: Vec<u8> = match info.dtype {
            DType::F32 => (0..info.len()).flat_map(|_| number().to_le_bytes()).collect(),
            DType::I32 | DType::I8 | DType::U8 => {
                (0..info.len() * info.dtype.size()).map(|_| (number() * 40.0 + 128.0) as u8).collect()
            }
        };
        numbers(info.dtype, &data)
    }
}

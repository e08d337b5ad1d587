//! Times rten on an ONNX file, as `bench/compare` does the other engines: `kiln-bench-rten MODEL IMAGE SHAPE THREADS OUT`.
//!
//! IMAGE and OUT hold f32 numbers, little endian; SHAPE is as `1,3,224,224`. Prints one JSON object.

use std::error::Error;
use std::sync::Arc;
use std::time::Instant;
use std::{env, fs};

use rten::{Model, RunOptions, ThreadPool};
use rten_tensor::prelude::*;
use rten_tensor::{NdTensor, Tensor};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [model, image, shape, threads, out] = arguments.as_slice() else {
        return Err("usage: MODEL IMAGE SHAPE THREADS OUT".into());
    };
    let shape: Vec<usize> = shape.split(',').map(str::parse).collect::<Result<_, _>>()?;
    let image: Vec<f32> =
        fs::read(image)?.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
    let image: Tensor<f32> = Tensor::from_data(&shape, image);
    let model = Model::load_file(model)?;
    let pool = Arc::new(ThreadPool::with_num_threads(threads.parse()?));
    let run = || -> Result<(f64, Vec<f32>), Box<dyn Error>> {
        let options = RunOptions::default().with_thread_pool(Some(pool.clone()));
        let start = Instant::now();
        let output = model.run_one(image.view().into(), Some(options))?;
        let milliseconds = 1e3 * start.elapsed().as_secs_f64();
        let output: NdTensor<f32, 2> = output.try_into()?;
        Ok((milliseconds, output.to_vec()))
    };
    let (mut last, mut output) = run()?;
    for _ in 0..2 {
        (last, output) = run()?;
    }
    let mut times = Vec::new();
    for _ in 0..((3000.0 / last) as usize).clamp(10, 150) {
        times.push(run()?.0);
    }
    times.sort_by(f64::total_cmp);
    fs::write(out, output.into_iter().flat_map(f32::to_le_bytes).collect::<Vec<u8>>())?;
    println!("{{\"median_ms\": {}, \"min_ms\": {}, \"runs\": {}}}", times[times.len() / 2], times[0], times.len());
    Ok(())
}

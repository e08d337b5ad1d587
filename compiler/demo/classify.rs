//! Classifies a file of images, one after the other: `classify IMAGES ANSWERS`, both bare little-endian f32. Prints the
//! median time of an image in microseconds.

use std::time::Instant;

use digits::{Digits, Threads};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let paths: Vec<String> = std::env::args().skip(1).collect();
    let [images, answers] = paths.as_slice() else { return Err("give a file of images and one for answers".into()) };
    let pixels: Vec<f32> =
        std::fs::read(images)?.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
    let mut session = Digits::load()?.session(Threads::new(1));
    let mut bytes = Vec::new();
    let mut times = Vec::new();
    for image in pixels.chunks_exact(Digits::INPUTS[0].len()) {
        let start = Instant::now();
        let probabilities = session.run(image)?;
        times.push(start.elapsed().as_secs_f64() * 1e6);
        bytes.extend(probabilities.iter().flat_map(|p| p.to_le_bytes()));
    }
    std::fs::write(answers, bytes)?;
    times.sort_by(f64::total_cmp);
    println!("{}", times[times.len() / 2]);
    Ok(())
}

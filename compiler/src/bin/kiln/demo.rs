//! `kiln demo`: from a spec and trained weights to a crate that reads handwritten digits, in one go.

use kiln_compiler::back::rust::{PackageName, Workspace};
use kiln_compiler::front::{self, NoFiles, Overrides};
use kiln_compiler::pipeline::{Options, compile};
use kiln_compiler::target::Target;
use ndarray::ArrayD;
use ndarray_npy::ReadNpyExt;

use crate::crates::Recipe;
use crate::dump::print_line;
use crate::folder::NewFolder;
use crate::inspect::grouped;
use crate::progress::Doing;
use crate::report::{Context, Failure};
use crate::temporary::Temporary;
use crate::toolchain::{LinkedWeights, build_example, run_program};
use crate::weights::Weights;

const SPEC: &str = include_str!("../../../demo/digits.net");
const WEIGHTS: &[u8] = include_bytes!("../../../demo/digits.safetensors");
const IMAGES: &[u8] = include_bytes!("../../../demo/digits_images.npy");
const LABELS: &[u8] = include_bytes!("../../../demo/digits_labels.npy");
const PROBABILITIES: &[u8] = include_bytes!("../../../demo/digits_probabilities.npy");
const CLASSIFY: &str = include_str!("../../../demo/classify.rs");

/// How far a probability may lie from the stored one.
const TOLERANCE: f32 = 1e-5;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Keep the crate in this folder
    #[arg(long)]
    out: Option<std::path::PathBuf>,
}

/// Compiles the digits network, runs it on images it has not seen, and checks its answers.
pub(crate) fn demo(args: &Args) -> Result<(), Failure> {
    let images = ArrayD::<u8>::read_npy(IMAGES).context("the demo's images")?;
    let labels = ArrayD::<u8>::read_npy(LABELS).context("the demo's labels")?;
    let expected = ArrayD::<f32>::read_npy(PROBABILITIES).context("the demo's answers")?;
    let (count, pixels) = (images.shape()[0], images.len() / images.shape()[0]);
    let images: Vec<u8> = images.into_iter().collect();
    let (labels, expected): (Vec<u8>, Vec<f32>) = (labels.into_iter().collect(), expected.into_iter().collect());

    let doing = Doing::new("compiling the digits network");
    let spec = front::parse_text("digits.net", SPEC)?;
    let graph = front::elaborate(&spec, "Digits", &Overrides::default(), &NoFiles)?;
    let compiled = compile(graph, &Options::default())?;
    let temporary = Temporary::new().context("cannot make a temporary folder")?;
    let weights_path = temporary.path().join("digits.safetensors");
    std::fs::write(&weights_path, WEIGHTS).context("cannot write the weights")?;
    let weights = Weights::of_file(&weights_path, &compiled.source)?;
    let folder = args.out.clone().unwrap_or_else(|| temporary.path().join("digits"));
    let new = NewFolder::begin(&folder)?;
    let recipe = Recipe {
        compiled: &compiled,
        weights: &weights,
        package: PackageName::like("digits"),
        source: "digits.net".to_owned(),
        workspace: Workspace::Own,
        golden: true,
        license: None,
    };
    recipe.write(&new)?;
    new.write("examples/classify.rs", CLASSIFY.as_bytes())?;
    new.finish()?;

    doing.now("building the crate");
    let program = build_example(&folder, "classify", LinkedWeights::Yes)?;
    doing.now("reading digits");
    let (input, output) = (temporary.path().join("images.bin"), temporary.path().join("answers.bin"));
    let raw: Vec<u8> = images.iter().flat_map(|&pixel| f32::from(pixel).to_le_bytes()).collect();
    std::fs::write(&input, raw).context("cannot write the images")?;
    let microseconds = run_program(&program, &[input.into(), output.clone().into()])?;
    let microseconds: f64 = microseconds.trim().parse().context("the crate's program gave no time")?;
    let answers: Vec<f32> = std::fs::read(&output)
        .context("the crate's program gave no answers")?
        .chunks_exact(4)
        .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
        .collect();
    drop(doing);

    let checked = check(&answers, &expected, &labels, count)?;
    draw(&images, pixels, &labels, &checked.digits)?;
    let plan = compiled.programs.iter().find(|program| program.target == Target::detect());
    let plan = plan.unwrap_or(&compiled.programs[compiled.programs.len() - 1]);
    print_line(format_args!(
        "accuracy         {} of {count} ({:.2} %)",
        checked.right,
        100.0 * checked.right as f64 / count as f64
    ))?;
    print_line(format_args!("as PyTorch says  {count} of {count}, probabilities within {:.1e}", checked.worst))?;
    print_line(format_args!("time an image    {microseconds:.1} µs, {} on one thread", plan.target.name()))?;
    print_line(format_args!("arena            {} bytes", grouped(4 * plan.arena as u64)))?;
    print_line(format_args!("program          {} bytes", grouped(std::fs::metadata(&program).map_or(0, |m| m.len()))))?;
    print_line(format_args!(
        "code             {} bytes of machine code for {}",
        grouped(code_bytes(&program)?),
        targets(&compiled.programs)
    ))?;
    if args.out.is_some() {
        print_line(format_args!("the crate is in  {}", folder.display()))?;
    }
    Ok(())
}

struct Checked {
    digits: Vec<u8>,
    right: usize,
    worst: f32,
}

/// Holds the answers against PyTorch's.
fn check(answers: &[f32], expected: &[f32], labels: &[u8], count: usize) -> Result<Checked, Failure> {
    if answers.len() != expected.len() {
        return Err(Failure::new(format!("{} answers in place of {}", answers.len(), expected.len())));
    }
    let digits = answers.chunks_exact(10).map(largest).collect::<Vec<u8>>();
    let theirs = expected.chunks_exact(10).map(largest).collect::<Vec<u8>>();
    if let Some(image) = (0..count).find(|&i| digits[i] != theirs[i]) {
        return Err(Failure::new(format!("image {image}: {} where PyTorch says {}", digits[image], theirs[image])));
    }
    let worst = answers.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    if worst.is_nan() || worst > TOLERANCE {
        return Err(Failure::new(format!("a probability is {worst:e} off PyTorch's, more than {TOLERANCE:e}")));
    }
    let right = digits.iter().zip(labels).filter(|(a, b)| a == b).count();
    Ok(Checked { digits, right, worst })
}

fn largest(probabilities: &[f32]) -> u8 {
    let best = probabilities.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1));
    best.map_or(0, |(digit, _)| digit as u8)
}

/// Draws a few digits side by side, two rows of pixels in a line of text; a wrong answer is among them if there is one.
fn draw(images: &[u8], pixels: usize, labels: &[u8], digits: &[u8]) -> Result<(), Failure> {
    const SHADES: [char; 5] = [' ', '░', '▒', '▓', '█'];
    let side = pixels.isqrt();
    let wrong = (0..digits.len()).find(|&i| digits[i] != labels[i]);
    let shown: Vec<usize> = (0..7).map(|i| i * 11).chain(wrong).collect();
    for row in 0..side {
        let line: Vec<String> = shown
            .iter()
            .map(|&image| {
                let row = &images[image * pixels + row * side..][..side];
                row.iter().flat_map(|&ink| [SHADES[usize::from(ink).min(16) * 4 / 16]; 2]).collect()
            })
            .collect();
        print_line(format_args!("{}", line.join("  ")))?;
    }
    let answers: Vec<String> = shown
        .iter()
        .map(|&image| {
            let answer = match digits[image] == labels[image] {
                true => digits[image].to_string(),
                false => format!("{} (it is {})", digits[image], labels[image]),
            };
            format!("{answer:^width$}", width = 2 * side)
        })
        .collect();
    print_line(format_args!("{}\n", answers.join("  ")))
}

fn targets(programs: &[kiln_compiler::graph::Verified<kiln_compiler::kernel::Program>]) -> String {
    programs.iter().map(|program| program.target.name()).collect::<Vec<_>>().join(", ")
}

/// The machine code of the emitted kernels: what an object of the crate holds in text sections, as `size` counts; 0
/// where the tool is missing.
fn code_bytes(program: &std::path::Path) -> Result<u64, Failure> {
    let Ok(output) = std::process::Command::new("size").arg(program).output() else { return Ok(0) };
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(text.lines().nth(1).and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0))
}

// __HEADER__
//! Runs the network once: `run INPUT... [--threads N] [--target T] [--top K] [--output FILE.npy]... [--outputs DIR]`.
//!
//! An input is a `.npy` file in little endian and C order, of the input's type, or the bare numbers. With several
//! inputs, give one file for each, in the network's order. The first output is printed, as its largest classes where it
//! has classes. Outputs are written to the files that are named, in the network's order; `--outputs` writes all of them to
//! a folder, each to a file of its own, and `outputs.json` beside them, which says by its name where each is. `--threads`
//! is at most what the machine has, `--exact-threads` any number. Built without the feature `embed`, it takes the weights
//! too: `--weights weights.bin`.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use __CRATE__::{DType, Elements, TensorInfo, Threads};

type Network = __CRATE__::__MODEL__;

/// The output that is printed. The compiler knows its shape, and leaves out what other shapes need.
const OUTPUT: TensorInfo = Network::OUTPUTS[0];

/// The file of each output in a folder of them.
const FILES: [&str; __OUTPUT_COUNT__] = [__FILES__];

/// Which output is in which.
const OUTPUTS_JSON: &str = __OUTPUTS_JSON__;

/// Whether the network ends in a softmax.
const PROBABILITIES: bool = __PROBABILITIES__;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let options = Options::parse(std::env::args_os().skip(1))?;
    if options.inputs.len() != Network::INPUTS.len() {
        let names: Vec<String> = Network::INPUTS.iter().map(TensorInfo::to_string).collect();
        return Err(format!("give a file for each input: {}", names.join(", ")).into());
    }
    if options.outputs.len() > Network::OUTPUTS.len() {
        return Err(format!("there are {} outputs to write", Network::OUTPUTS.len()).into());
    }
    let mut tensors = Vec::new();
    for (path, info) in options.inputs.iter().zip(Network::INPUTS) {
        tensors.push(read(path, info).map_err(|error| format!("{}: {error}", path.display()))?);
    }
    let model = load(&options)?;
    let mut session = model.session(options.threads);
    let named: Vec<(&str, Elements<'_>)> =
        Network::INPUTS.iter().zip(&tensors).map(|(info, tensor)| (info.name, tensor.elements())).collect();
    session.run_elements(&named)?;
    for (path, info) in options.outputs.iter().zip(Network::OUTPUTS) {
        let Some(output) = session.elements(info.name) else { continue };
        fs::write(path, npy(info.shape, output)).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    if let Some(folder) = &options.folder {
        let written = |name: &str, contents: &[u8]| {
            let path = folder.join(name);
            fs::write(&path, contents).map_err(|error| format!("{}: {error}", path.display()))
        };
        fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        for (info, file) in Network::OUTPUTS.iter().zip(FILES) {
            let Some(output) = session.elements(info.name) else { continue };
            written(file, &npy(info.shape, output))?;
        }
        written("outputs.json", OUTPUTS_JSON.as_bytes())?;
    }
    if let Some(output) = session.elements(OUTPUT.name) {
        print(output, options.top);
    }
    Ok(())
}

/// The model with the weights in the program.
#[cfg(feature = "embed")]
fn load(options: &Options) -> Result<Network> {
    Ok(match &options.target {
        Some(name) => Network::load_for(name.parse()?)?,
        None => Network::load()?,
    })
}

/// The model with the weights of a file.
#[cfg(not(feature = "embed"))]
fn load(options: &Options) -> Result<Network> {
    let path = options.weights.as_ref().ok_or("the program has no weights: --weights weights.bin")?;
    let weights = aligned(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let weights = __CRATE__::Weights::Static(weights);
    Ok(match &options.target {
        Some(name) => Network::load_from_for(weights, name.parse()?)?,
        None => Network::load_from(weights)?,
    })
}

/// A file's bytes, on a cache line: weights that lie so are used where they are. They stay until the program ends.
#[cfg(not(feature = "embed"))]
fn aligned(path: &Path) -> std::io::Result<&'static [u8]> {
    const LINE: usize = 64;
    let mut file = fs::File::open(path)?;
    let len = usize::try_from(file.metadata()?.len()).map_err(std::io::Error::other)?;
    let bytes = vec![0; len + LINE].leak();
    let start = bytes.as_ptr().align_offset(LINE).min(LINE);
    let bytes = &mut bytes[start..start + len];
    std::io::Read::read_exact(&mut file, bytes)?;
    Ok(bytes)
}

/// The command line.
struct Options {
    inputs: Vec<PathBuf>,
    threads: Threads,
    target: Option<String>,
    top: usize,
    outputs: Vec<PathBuf>,
    folder: Option<PathBuf>,
    #[cfg(not(feature = "embed"))]
    weights: Option<PathBuf>,
}

impl Options {
    fn parse(mut args: impl Iterator<Item = OsString>) -> Result<Self> {
        let mut options = Self {
            inputs: Vec::new(),
            threads: Threads::new(1),
            target: None,
            top: 5,
            outputs: Vec::new(),
            folder: None,
            #[cfg(not(feature = "embed"))]
            weights: None,
        };
        while let Some(arg) = args.next() {
            // The name of a file may be no text.
            let flag = arg.to_str().filter(|arg| arg.starts_with("--"));
            let Some(flag) = flag else {
                options.inputs.push(arg.into());
                continue;
            };
            let mut value = || args.next().ok_or_else(|| format!("{flag} needs a value"));
            let text = |value: OsString| value.into_string().map_err(|_| format!("{flag} needs text"));
            let number = |text: String| text.parse::<usize>().map_err(|error| format!("{flag}: {error}"));
            match flag {
                "--threads" => options.threads = Threads::new(number(text(value()?)?)?),
                "--exact-threads" => options.threads = Threads::exactly(number(text(value()?)?)?),
                "--top" => options.top = number(text(value()?)?)?,
                "--target" => options.target = Some(text(value()?)?),
                "--output" => options.outputs.push(value()?.into()),
                "--outputs" => options.folder = Some(value()?.into()),
                #[cfg(not(feature = "embed"))]
                "--weights" => options.weights = Some(value()?.into()),
                _ => return Err(format!("there is no option {flag}").into()),
            }
        }
        Ok(options)
    }
}

/// The numbers of a file.
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

/// What an `.npy` file says of a type's elements.
const fn descr(dtype: DType) -> &'static str {
    match dtype {
        DType::F32 => "<f4",
        DType::I32 => "<i4",
        DType::I8 => "|i1",
        DType::U8 => "|u1",
    }
}

/// The numbers of a file, as many as the input takes.
fn read(path: &Path, info: &TensorInfo) -> Result<Numbers> {
    let bytes = fs::read(path)?;
    let data = if bytes.starts_with(b"\x93NUMPY") { npy_data(&bytes, info.dtype)? } else { &bytes };
    let wanted = info.dtype.size() * info.len();
    if data.len() != wanted {
        return Err(format!("{} bytes of numbers, but {info} takes {wanted}", data.len()).into());
    }
    Ok(match info.dtype {
__FROM_BYTES__
    })
}

/// The data of an `.npy` file: magic, version, length of the header, header as a Python dictionary, data.
fn npy_data(bytes: &[u8], dtype: DType) -> Result<&[u8]> {
    let cut = || "the .npy file is cut";
    let (start, len) = match bytes.get(6).ok_or_else(cut)? {
        1 => (10, usize::from(u16::from_le_bytes(bytes.get(8..10).ok_or_else(cut)?.try_into()?))),
        _ => (12, u32::from_le_bytes(bytes.get(8..12).ok_or_else(cut)?.try_into()?) as usize),
    };
    let header = bytes.get(start..start + len).ok_or_else(cut)?;
    let header: Vec<u8> = header.iter().copied().filter(|c| !c.is_ascii_whitespace()).collect();
    let says = |what: &[u8]| header.windows(what.len()).any(|part| part == what);
    let descr = format!("'descr':'{}'", descr(dtype));
    if !says(descr.as_bytes()) || says(b"'fortran_order':True") {
        return Err(format!("the .npy file must hold {dtype} in little endian and C order").into());
    }
    Ok(&bytes[start + len..])
}

/// An `.npy` file.
fn npy(shape: &[usize], values: Elements<'_>) -> Vec<u8> {
    let extents: String = shape.iter().map(|extent| format!("{extent}, ")).collect();
    let descr = descr(values.dtype());
    let header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({}), }}", extents.trim_end());
    // Magic, version and length are ten bytes; the whole ends with a newline at a multiple of 64.
    let padded = (header.len() + 11).next_multiple_of(64) - 10;
    let mut file = b"\x93NUMPY\x01\x00".to_vec();
    file.extend((padded as u16).to_le_bytes());
    file.extend(format!("{header:<width$}\n", width = padded - 1).into_bytes());
    match values {
__TO_BYTES__
    }
    file
}

/// The largest classes of each image, with their probabilities; the first numbers of any other output.
fn print(output: Elements<'_>, top: usize) {
    let (&[images, classes], Elements::F32(output)) = (OUTPUT.shape, output) else {
        return print_first(output, top);
    };
    for (image, scores) in output.chunks_exact(classes.max(1)).enumerate() {
        if images > 1 {
            println!("image {image}");
        }
        let mut ranked: Vec<(usize, f32)> = probabilities(scores).into_iter().enumerate().collect();
        // A pass for each class that is shown: to sort them all takes more code than most kernels.
        for _ in 0..top {
            let largest = (0..ranked.len()).max_by(|&a, &b| {
                let ((class_a, a), (class_b, b)) = (ranked[a], ranked[b]);
                a.total_cmp(&b).then(class_b.cmp(&class_a))
            });
            let Some(largest) = largest else { break };
            let (class, probability) = ranked.swap_remove(largest);
            println!("class {class:4}  {}", decimal(probability));
        }
    }
}

/// The first numbers of an output.
fn print_first(output: Elements<'_>, count: usize) {
    let first = count.min(output.len());
    match output {
__PRINT__
    }
}

/// A probability to three places, by whole numbers: the library's way of printing any float takes as much code as the
/// kernels of a small network.
fn decimal(probability: f32) -> String {
    if probability.is_nan() {
        return "NaN".to_owned();
    }
    let thousandths = (1e3 * probability).round() as u32;
    format!("{}.{:03}", thousandths / 1000, thousandths % 1000)
}

/// The scores, as probabilities: their softmax, unless they are.
fn probabilities(scores: &[f32]) -> Vec<f32> {
    if PROBABILITIES {
        return scores.to_vec();
    }
    let largest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let powers: Vec<f32> = scores.iter().map(|score| (score - largest).exp()).collect();
    let sum: f32 = powers.iter().sum();
    powers.into_iter().map(|power| power / sum).collect()
}

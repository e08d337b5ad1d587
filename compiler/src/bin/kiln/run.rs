//! `kiln run`: a network on a tensor, a photo, or a folder of photos, by one of three engines.

use std::collections::BTreeSet;
use std::io::IsTerminal;
use std::path::PathBuf;

use kiln_compiler::graph::{DType, Elements, Graph, TensorType};
use kiln_compiler::pipeline::{Options, compile};
use kiln_compiler::target::Target;

use crate::answers::{self, Answer, Output, Said};
use crate::classes::{Labels, gives_probabilities, rank};
use crate::dump::print;
use crate::engine::{Engine, Runner, thread_count};
use crate::file::NewFile;
use crate::folder::NewFolder;
use crate::inputs::{Inputs, tensors};
use crate::npy;
use crate::progress::Doing;
use crate::report::Failure;
use crate::spec::{Network, Spec};
use crate::weights;

/// How many numbers are printed of an output that has no classes.
const FIRST: usize = 8;

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    spec: Spec,
    #[command(flatten)]
    weights: weights::Argument,
    /// A `.npy` file of the input's type, a photo (`.png`, `.jpg`, `.jpeg`), a folder of photos, or `fill` for an input
    /// by formula;
    /// `NAME=FILE` where there are several inputs. What says how an operator of an ONNX file works, as the shape of a
    /// Reshape, is a constant of the network that runs
    #[arg(long)]
    input: Vec<String>,
    /// Write the first output to a `.npy` file, that of several photos stacked in their order
    #[arg(long)]
    output: Option<PathBuf>,
    /// Write each output to `DIR/NAME.npy`; the folder must not be there yet
    #[arg(long, value_name = "DIR")]
    outputs: Option<PathBuf>,
    /// How many classes to print of each image; default: 5, and 1 in a table of several images
    #[arg(long)]
    top: Option<usize>,
    /// A text file with the name of a class in each line; default: ImageNet's for networks of photos and 1,000 classes
    #[arg(long)]
    labels: Option<PathBuf>,
    /// Print one JSON object: classes, and where the first output has none, all outputs
    #[arg(long, conflicts_with = "csv")]
    json: bool,
    /// Print lines of file,rank,class,label,probability
    #[arg(long)]
    csv: bool,
    /// What runs it
    #[arg(long, value_enum, default_value = "aot")]
    engine: Engine,
    /// Threads of the emitted crate
    #[arg(long, default_value_t = 1, value_parser = thread_count)]
    threads: usize,
    /// The instruction set; default: the best that this processor has
    #[arg(long)]
    target: Option<Target>,
}

/// Runs a network.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let doing = Doing::new(format!("reading {}", args.spec.name()));
    let Network { graph, weights, absent } = args.spec.load_with(&args.weights, &tensors(&args.input))?;
    args.engine.check(&graph)?;
    let file = args.output.as_deref().map(|path| NewFile::begin(path, true)).transpose()?;
    let folder = args.outputs.as_deref().map(NewFolder::begin).transpose()?;
    let mut inputs = Inputs::read(&graph, &absent, &args.input, &doing)?;
    let has_classes = PerImage::of(&graph, 0, inputs.batch())?.classes().is_some();
    let prints_outputs = args.json && !has_classes;
    let wanted = if folder.is_some() || prints_outputs { graph.outputs().len() } else { 1 };
    let outputs = (0..wanted).map(|i| PerImage::of(&graph, i, inputs.batch())).collect::<Result<Vec<_>, _>>()?;
    let output = &outputs[0];
    if args.csv && !has_classes {
        return Err(Failure::new(format!(
            "the first output has shape {:?}: there are no classes to print",
            output.shape
        ))
        .help("print it with --json, or write it to a file with --output"));
    }
    let labels = Labels::of(&graph, output.classes(), args.labels.as_deref())?;
    let target = args.target.unwrap_or_else(Target::detect);
    let targets = if args.engine == Engine::Interp { Vec::new() } else { vec![target] };
    doing.now(format!("compiling {}", args.spec.name()));
    let compiled = compile(graph, &Options { targets, ..Options::default() })?;
    let runner = Runner::new(args.engine, &compiled, &weights, target, args.threads)?;
    doing.now_counting(format!("running {}", args.spec.name()), inputs.runs());
    let probabilities = gives_probabilities(&compiled.source);
    let several = inputs.runs() > 1 || inputs.names(0, output.images).len() > 1;
    let top = args.top.unwrap_or(if several && !args.csv && !args.json { 1 } else { 5 });
    // Outputs that go to files are held until all are there; what is only printed is not.
    let held = if file.is_some() || folder.is_some() { wanted } else { 0 };
    let (mut answers, mut stacked) = (Vec::new(), vec![None::<Elements>; held]);
    for run in 0..inputs.runs() {
        let values = runner.run(inputs.load(run)?)?;
        let names = inputs.names(run, output.images);
        // The last batch of photos may not be full.
        for (stacked, values) in stacked.iter_mut().zip(&values) {
            let given = values.first(values.len() * names.len() / output.images);
            match stacked {
                Some(stacked) => stacked.append(given),
                None => *stacked = Some(given),
            }
        }
        if prints_outputs {
            answers.extend(whole_outputs(&compiled.source, &outputs, &inputs, run, &values));
        } else {
            let shown: Vec<f32> = values[0].to_f64().into_iter().map(|v| v as f32).collect();
            for (image, values) in names.into_iter().zip(shown.chunks_exact(output.len().max(1))) {
                let first = || values.iter().copied().take(FIRST).collect();
                let said = match output.classes() {
                    Some(_) => Said::Classes(rank(values, probabilities, top)),
                    None => Said::Numbers { shape: output.shape.clone(), first: first() },
                };
                answers.push(Answer { image, said });
            }
        }
        doing.one_done();
    }
    drop(doing);
    let stacked: Vec<Elements> = stacked.into_iter().flatten().collect();
    if let (Some(file), Some(first)) = (file, stacked.first()) {
        file.write(|out| npy::write(out, &output.stacked(first.len()), first))?.finish()?;
    }
    if let Some(folder) = folder {
        let names = file_names(compiled.source.outputs().iter().map(|output| output.name.as_str()));
        for ((name, output), values) in names.iter().zip(&outputs).zip(&stacked) {
            let mut bytes = Vec::new();
            npy::write(&mut bytes, &output.stacked(values.len()), values)?;
            folder.write(name, &bytes)?;
        }
        folder.finish()?;
    }
    print(&if args.json {
        format!("{}\n", answers::json(&compiled.source.name, &answers, &labels))
    } else if args.csv {
        answers::csv(&answers, &labels)
    } else {
        answers::table(&answers, &labels, std::io::stdout().is_terminal())
    })
}

/// What a run says in full: all outputs of each photo, or of the tensors, as they are.
fn whole_outputs(graph: &Graph, outputs: &[PerImage], inputs: &Inputs, run: usize, values: &[Elements]) -> Vec<Answer> {
    let images = inputs.batch().unwrap_or(1);
    let of_image = |image: usize| {
        let all = graph.outputs().iter().zip(outputs).zip(values);
        Said::Outputs(
            all.map(|((output, PerImage { shape, counted, .. }), values)| {
                let len = values.len() / images;
                let mut shape = shape.clone();
                if images > 1 && *counted {
                    shape[0] = 1;
                }
                Output::new(output.name.clone(), shape, values, image * len)
            })
            .collect(),
        )
    };
    let names = inputs.names(run, images).into_iter().enumerate();
    names.map(|(image, name)| Answer { image: name, said: of_image(image) }).collect()
}

/// A `.npy` file for each output, no two alike: what a file system may not take in a name is an underscore.
fn file_names<'a>(outputs: impl Iterator<Item = &'a str>) -> Vec<String> {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "_.-".contains(c) { c } else { '_' };
    let stems: Vec<(&str, String)> = outputs.map(|output| (output, output.chars().map(plain).collect())).collect();
    // What may stand as it is has its name before others that become like it.
    let mut taken: BTreeSet<String> =
        stems.iter().filter(|(output, stem)| output == stem).map(|(_, stem)| format!("{stem}.npy")).collect();
    let mut file = |(output, stem): (&str, String)| {
        if output == stem {
            return format!("{stem}.npy");
        }
        let mut names = std::iter::once(format!("{stem}.npy")).chain((2..).map(|n| format!("{stem}_{n}.npy")));
        let free = names.find(|name| !taken.contains(name)).unwrap_or_default();
        taken.insert(free.clone());
        free
    };
    stems.into_iter().map(&mut file).collect()
}

/// How an output is shared out over the images of a run.
struct PerImage {
    images: usize,
    /// Whether the output's first extent counts the images.
    counted: bool,
    /// The output's shape.
    shape: Vec<usize>,
    dtype: DType,
}

impl PerImage {
    /// For photos, `batch` of which go into a run; for tensors, of which the rows of an output `[N, classes]` say how
    /// many images they hold.
    ///
    /// # Errors
    /// Where a batch of photos has an output that is not one of each.
    fn of(graph: &Graph, output: usize, batch: Option<usize>) -> Result<Self, Failure> {
        let output = &graph.outputs()[output];
        let TensorType { dtype, shape } = graph.node(output.node).ty.clone();
        let images = batch.unwrap_or(if shape.len() == 2 { shape[0] } else { 1 });
        let counted = shape.first() == Some(&images);
        if images > 1 && !counted {
            let name = &output.name;
            return Err(Failure::new(format!("of {images} photos the output `{name}` is {shape:?}: not one of each"))
                .help("run the network on one photo at a time, with a batch of 1"));
        }
        Ok(PerImage { images, counted, shape, dtype })
    }

    /// How many numbers an image has.
    fn len(&self) -> usize {
        self.shape.iter().product::<usize>() / self.images.max(1)
    }

    /// How many classes there are, where the numbers are scores of classes.
    fn classes(&self) -> Option<usize> {
        (self.counted && self.shape.len() == 2 && self.dtype == DType::F32).then(|| self.shape[1])
    }

    /// The shape of the outputs of several images, one after the other, so many numbers in all.
    fn stacked(&self, numbers: usize) -> Vec<usize> {
        if self.len() == 0 {
            return self.shape.clone();
        }
        let images = numbers / self.len();
        let each = if self.counted { &self.shape[1..] } else { &self.shape[..] };
        if images == self.images { self.shape.clone() } else { [&[images][..], each].concat() }
    }
}

#[cfg(test)]
mod tests {
    use super::file_names;

    #[test]
    fn outputs_have_files_of_their_names() {
        let named = |outputs: &[&str]| file_names(outputs.iter().copied());
        assert_eq!(named(&["y", "a/b", "a_b", "a b"]), ["y.npy", "a_b_2.npy", "a_b.npy", "a_b_3.npy"]);
        assert_eq!(named(&["a/b", "a:b"]), ["a_b.npy", "a_b_2.npy"]);
    }
}

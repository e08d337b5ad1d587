//! `kiln run`: a network on a tensor, a photo, or a folder of photos, by one of three engines.

use std::ffi::OsString;
use std::io::IsTerminal;
use std::path::PathBuf;

use kiln_compiler::back::rust::OutputFiles;
use kiln_compiler::graph::{DType, Elements, Graph, TensorType};
use kiln_compiler::pipeline::{Options, compile};
use kiln_compiler::target::Target;

use crate::answers::{self, Answer, Output, Said};
use crate::classes::{Labels, gives_probabilities, rank};
use crate::compare::{self, Difference};
use crate::dump::print;
use crate::engine::{Engine, Runner};
use crate::file::NewFile;
use crate::folder::NewFolder;
use crate::image_option;
use crate::inputs::{Inputs, tensors};
use crate::npy;
use crate::photos::Photos;
use crate::progress::Doing;
use crate::report::{Failure, say};
use crate::spec::{Network, Spec};
use crate::threads;
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
    input: Vec<OsString>,
    /// How a photo becomes the first input: `imagenet`, or settings as "resize=256 crop=224 mean=0.485,0.456,0.406
    /// std=0.229,0.224,0.225", with the names of the language's `image(…)`. Numbers above 1 are of pixels from 0 to 255; range=1
    /// or range=255 says it. Default: what the network says
    #[arg(long, value_name = "SETTINGS")]
    image: Option<String>,
    /// Fail where a photo of a folder is broken, in place of leaving it out
    #[arg(long)]
    strict: bool,
    /// Write the first output to a `.npy` file, that of several photos stacked in their order
    #[arg(long)]
    output: Option<PathBuf>,
    /// Write each output to `DIR/NAME.npy`, and `DIR/outputs.json`, which says by its name in which file each is; the folder
    /// must not be there yet
    #[arg(long, value_name = "DIR")]
    outputs: Option<PathBuf>,
    #[command(flatten)]
    compare: compare::Comparison,
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
    #[command(flatten)]
    threads: threads::ThreadCount,
    /// The instruction set; default: the best that this processor has
    #[arg(long)]
    target: Option<Target>,
}

/// Runs a network.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let threads = args.threads.count();
    let doing = Doing::new(format!("reading {}", args.spec.name()));
    let Network { mut graph, weights, absent } = args.spec.load_with(&args.weights, &tensors(&args.input))?;
    args.engine.check(&graph)?;
    if let Some(settings) = &args.image {
        let input = graph.inputs().first().map(|&id| graph.node(id));
        let input = input.ok_or_else(|| Failure::new("`--image` is for networks with an input"))?;
        graph.preprocessing = Some(image_option::preprocessing(settings, &input.origin.name, &input.ty.shape)?);
    }
    let expected = args.compare.read(&graph)?;
    let file = args.output.as_deref().map(|path| NewFile::begin(path, true)).transpose()?;
    let folder = args.outputs.as_deref().map(NewFolder::begin).transpose()?;
    let mut inputs = Inputs::read(&graph, &absent, &args.input, args.strict, &doing)?;
    let has_classes = PerImage::of(&graph, 0, inputs.batch())?.classes().is_some();
    let prints_outputs = args.json && !has_classes;
    let compared = expected.iter().map(|expected| expected.output + 1).max().unwrap_or(1);
    let wanted = if folder.is_some() || prints_outputs { graph.outputs().len() } else { compared };
    let outputs = (0..wanted).map(|i| PerImage::of(&graph, i, inputs.batch())).collect::<Result<Vec<_>, _>>()?;
    let output = &outputs[0];
    for expected in &expected {
        expected.check_shape(&outputs[expected.output].of_all(inputs.photos().map(Photos::count)))?;
    }
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
    let runner = Runner::new(args.engine, &compiled, &weights, target, threads)?;
    doing.now_counting(format!("running {}", args.spec.name()), inputs.runs());
    let probabilities = gives_probabilities(&compiled.source);
    let several = inputs.runs() > 1 || inputs.names(0, output.images).len() > 1;
    let top = args.top.unwrap_or(if several && !args.csv && !args.json { 1 } else { 5 });
    // Outputs that go to files are held until all are there; what is only printed is not.
    let held = if file.is_some() || folder.is_some() || !expected.is_empty() { wanted } else { 0 };
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
        write_all(folder, &compiled.source, &outputs, &stacked)?;
    }
    let differences: Vec<Difference> =
        expected.iter().map(|expected| expected.difference(&stacked[expected.output])).collect();
    let compared: String = differences.iter().map(Difference::line).collect();
    if args.json {
        let mut object = answers::json(&compiled.source.name, &answers, &labels);
        if !differences.is_empty() {
            object["compared"] = differences.iter().map(Difference::object).collect();
        }
        print(&format!("{object}\n"))?;
    } else if args.csv {
        compared.lines().for_each(say);
        print(&answers::csv(&answers, &labels))?;
    } else {
        print(&answers::table(&answers, &labels, std::io::stdout().is_terminal()))?;
        print(&compared)?;
    }
    Difference::check(&differences)
}

/// Writes each output to a file of its own, and beside them which output is in which.
fn write_all(folder: NewFolder, graph: &Graph, outputs: &[PerImage], stacked: &[Elements]) -> Result<(), Failure> {
    let names: Vec<&str> = graph.outputs().iter().map(|output| output.name.as_str()).collect();
    let OutputFiles { files, json } = OutputFiles::of(&names);
    folder.write("outputs.json", json.as_bytes())?;
    for ((name, output), values) in files.iter().zip(outputs).zip(stacked) {
        let mut bytes = Vec::new();
        npy::write(&mut bytes, &output.stacked(values.len()), values)?;
        folder.write(name, &bytes)?;
    }
    folder.finish()
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

    /// The shape of the outputs of so many photos, or of tensors.
    fn of_all(&self, photos: Option<usize>) -> Vec<usize> {
        photos.map_or_else(|| self.shape.clone(), |photos| self.stacked(photos * self.len()))
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

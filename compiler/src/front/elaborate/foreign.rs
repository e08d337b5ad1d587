//! Names that others use: PyTorch, Keras and ONNX for ops and their parameters, and Rust where the language has another way.
//!
//! All names stand here without underscores and in lower case, so that `BatchNorm2d` and `batch_norm_2d` are one.

use super::ops;

/// What is said of a name that is not the language's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Meant {
    /// There is a way to write it.
    Help(String),
    /// The graph has no operator for it.
    Unsupported(&'static str),
}

/// Ops by the names that others have for them; a remark where the name alone would mislead.
const OPS: &[(&str, &str, &[&str])] = &[
    ("conv", "", &["conv2d", "convolution", "convolution2d", "conv2dlayer", "qlinearconv"]),
    (
        "conv",
        "each group of channels has kernels of its own: `groups = x.channels()`",
        &["depthwiseconv", "depthwiseconv2d", "dwconv", "depthwise"],
    ),
    (
        "conv",
        "a depthwise one, `groups = x.channels()`, and one with a kernel of 1 behind it",
        &["separableconv", "separableconv2d", "sepconv"],
    ),
    (
        "conv",
        "an axis of one more pixel makes a feature map of it: `x.reshape([n, c, 1, l])`, a kernel of `(1, k)`",
        &["conv1d"],
    ),
    ("linear", "", &["dense", "fc", "fullyconnected", "innerproduct", "gemm", "addmm", "denselayer"]),
    (
        "bn",
        "",
        &[
            "batchnorm",
            "batchnorm1d",
            "batchnorm2d",
            "batchnorm3d",
            "batchnormalization",
            "syncbatchnorm",
            "frozenbatchnorm2d",
            "batchnormact2d",
        ],
    ),
    ("max_pool", "", &["maxpool2d", "maxpooling", "maxpooling2d", "maxpool2dlayer"]),
    ("avg_pool", "", &["avgpool2d", "averagepool", "averagepool2d", "averagepooling", "averagepooling2d", "meanpool"]),
    (
        "global_avg_pool",
        "",
        &[
            "globalaveragepool",
            "globalaveragepooling2d",
            "globalaveragepooling",
            "globalavgpool2d",
            "gap",
            "globalpool",
            "globalmeanpool",
        ],
    ),
    (
        "global_max_pool",
        "",
        &["globalmaxpool2d", "globalmaxpooling2d", "globalmaxpooling", "adaptivemaxpool2d", "adaptivemaxpool", "gmp"],
    ),
    ("adaptive_avg_pool", "", &["adaptiveavgpool2d", "adaptiveaveragepool", "adaptiveaveragepooling2d"]),
    (
        "resize",
        "`size` is the rows and columns that it has then: `x.resize((2 * x.height(), 2 * x.width()))`",
        &[
            "upsample",
            "upsampling",
            "upsampling2d",
            "interpolate",
            "upsamplenearest",
            "upsamplenearest2d",
            "upsamplebilinear",
            "upsamplingbilinear2d",
            "upsamplingnearest2d",
            "resizebilinear",
        ],
    ),
    ("leaky_relu", "", &["lrelu"]),
    ("relu6", "", &["clippedrelu"]),
    ("clip", "", &["clamp", "clipbyvalue", "hardtanh"]),
    ("softmax", "", &["softmax2d"]),
    ("sub", "", &["subtract"]),
    ("mul", "", &["multiply", "scale"]),
    ("div", "", &["divide", "truediv"]),
    ("add", "", &["addition", "eltwise", "residual"]),
    ("matmul", "", &["bmm", "mm", "dot", "batchmatmul", "batchdot"]),
    ("concat", "", &["cat", "concatenate", "concatv2", "hstack", "merge"]),
    ("split", "", &["chunk", "splitv", "unbind", "tensorsplit"]),
    ("slice", "", &["narrow", "stridedslice", "crop", "cropping2d", "centercrop"]),
    ("depth_to_space", "", &["pixelshuffle", "subpixel"]),
    ("reshape", "", &["view", "viewas", "reshapeas", "unflatten", "squeeze", "unsqueeze", "expanddims"]),
    ("transpose", "", &["permute", "swapaxes", "swapdims", "movedim", "t"]),
    ("pad", "", &["zeropad", "zeropad2d", "zeropadding", "zeropadding2d", "constantpad2d", "padv2"]),
    (
        "dropout",
        "it does nothing at inference, and may be left out",
        &[
            "dropout2d",
            "alphadropout",
            "spatialdropout2d",
            "droppath",
            "stochasticdepth",
            "gaussiannoise",
            "dropblock2d",
        ],
    ),
    ("mean", "", &["reducemean", "avg", "average", "spatialmean"]),
    ("normalize", "", &["normalization", "rescaling"]),
    ("shape", "", &["size", "dims", "getshape"]),
    ("channels", "", &["numchannels", "inchannels"]),
    ("len", "", &["length", "count"]),
    ("int", "", &["integer", "tonumber"]),
    ("ln", "of a number; of a tensor it is `log`", &["log1p"]),
];

/// What others write and the language says in another way.
const WAYS: &[(&str, &[&str])] = &[
    ("`for` runs over an array itself: `for x in list { … }`", &["iter", "intoiter", "itermut"]),
    (
        "write a loop over the array: `for x in list { … }`",
        &["map", "filter", "fold", "foreach", "collect", "filtermap", "flatmap", "scan", "reduce"],
    ),
    ("`0..n` is a range, `0..=n` one with its end", &["range", "xrange", "arange"]),
    ("count down in the loop: `let j = n - 1 - i;`", &["rev", "reversed"]),
    (
        "leave it out: a value is copied where it is used",
        &["clone", "cloned", "copied", "copy", "toowned", "tovec", "intoboxed"],
    ),
    ("a string holds values in braces: `\"block.{i}\"`", &["tostring", "format", "str", "pushstr", "join"]),
    ("leave it out: a value is there, or the net is a mistake", &["unwrap", "expect", "unwrapor", "ok"]),
    (
        "an array does not grow: write its items, `[a, b]`, or give a variable a new value in the loop",
        &["push", "append", "extend", "insert", "pushback"],
    ),
    ("write the calls one after the other: `x.conv(…).bn().relu()`", &["sequential", "modulelist", "compose", "pipe"]),
    ("`kiln graph SPEC` prints what a net becomes", &["print", "println", "dbg", "eprintln"]),
    (
        "leave it out: a net is compiled for inference, and where its values lie is kiln's",
        &[
            "eval",
            "train",
            "detach",
            "contiguous",
            "cuda",
            "cpu",
            "to",
            "half",
            "requiresgrad",
            "nograd",
            "compile",
            "build",
        ],
    ),
    (
        "leave it out: an input is a parameter of the net with a shape, `pub net Net(image: [1, 3, 224, 224])`",
        &["input", "placeholder", "inputlayer"],
    ),
    ("add in a loop, `for x in list { s += x; }`; over rows and columns there is `mean`", &["sum"]),
    ("write what it computes, as `x.relu()`", &["activation"]),
];

/// Names of operators that the graph can hold, though the language cannot say them.
const ONLY_ONNX: &[&str] = &[
    "layernorm",
    "layernormalization",
    "groupnorm",
    "groupnormalization",
    "instancenorm",
    "instancenorm2d",
    "instancenormalization",
    "deconv",
    "deconv2d",
    "deconvolution",
    "convtranspose",
    "convtranspose2d",
    "conv2dtranspose",
    "transposedconv",
    "logsoftmax",
    "lrn",
    "localresponsenorm",
    "localresponsenormalization",
    "prelu",
    "selu",
    "softsign",
    "spacetodepth",
    "pixelunshuffle",
    "reducesum",
    "reducemax",
    "reducemin",
    "expand",
    "broadcastto",
    "conv3d",
];

/// Parameters by the names that others have for them; the first that a callee has is meant.
const PARAMETERS: &[(&str, &[&str])] = &[
    ("kernelsize", &["kernel"]),
    ("kernelshape", &["kernel"]),
    ("poolsize", &["kernel"]),
    ("ksize", &["kernel"]),
    ("size", &["kernel", "features", "channels"]),
    ("outchannels", &["channels"]),
    ("filters", &["channels"]),
    ("numfilters", &["channels"]),
    ("out", &["channels", "features"]),
    ("width", &["channels", "features"]),
    ("units", &["features"]),
    ("outfeatures", &["features"]),
    ("channels", &["features"]),
    ("features", &["channels"]),
    ("strides", &["stride"]),
    ("pads", &["padding"]),
    ("autopad", &["padding"]),
    ("pad", &["padding"]),
    ("dilations", &["dilation"]),
    ("dilationrate", &["dilation"]),
    ("group", &["groups"]),
    ("usebias", &["bias"]),
    ("epsilon", &["eps"]),
    ("center", &["shift"]),
    ("gamma", &["scale"]),
    ("beta", &["shift"]),
    ("affine", &["scale"]),
    ("dim", &["axis", "axes", "start"]),
    ("dims", &["axes", "axis"]),
    ("perm", &["axes"]),
    ("permutation", &["axes"]),
    ("startdim", &["start"]),
    ("negativeslope", &["slope"]),
    ("alpha", &["slope"]),
    ("outputsize", &["size"]),
    ("scalefactor", &["size"]),
    ("scale", &["size"]),
    ("mode", &["filter", "value"]),
    ("interpolation", &["filter"]),
    ("method", &["filter"]),
    ("min", &["low"]),
    ("max", &["high"]),
    ("minvalue", &["low"]),
    ("maxvalue", &["high"]),
    ("p", &["rate"]),
    ("upscalefactor", &["block"]),
    ("blocksize", &["block"]),
    ("inputs", &["x", "tensors"]),
    ("input", &["x"]),
    ("splitsizeorsections", &["parts"]),
    ("numorsizesplits", &["parts"]),
    ("chunks", &["parts"]),
    ("keepdim", &["keep"]),
    ("keepdims", &["keep"]),
];

/// Parameters that ops work out themselves.
const KNOWN: &[&str] = &["inchannels", "infeatures", "inputdim", "numfeatures", "inputshape"];

/// What of a framework is called through, as `torch` in `torch.cat(…)`.
const FRAMEWORKS: &[&str] = &["torch", "nn", "F", "tf", "keras", "layers", "np", "onnx", "functional", "ops", "K"];

fn plain(name: &str) -> String {
    name.chars().filter(|&c| c != '_').flat_map(char::to_lowercase).collect()
}

/// What somebody meant by the name of a function; `known` are those that there are.
pub(super) fn function<'k>(name: &str, known: impl IntoIterator<Item = &'k str>) -> Option<Meant> {
    let wanted = plain(name);
    if let Some(same) = known.into_iter().find(|known| plain(known) == wanted) {
        return Some(Meant::Help(format!("here it is `{same}`")));
    }
    if ops::PLANNED.contains(&name) || ONLY_ONNX.contains(&wanted.as_str()) {
        return Some(Meant::Unsupported(
            "the language has no word for it; a model that has it can come as an ONNX file, `kiln build model.onnx`",
        ));
    }
    let ways = WAYS.iter().find(|(_, names)| names.contains(&wanted.as_str())).map(|(way, _)| (*way).to_owned());
    let op = || {
        let (op, remark, _) = OPS.iter().find(|(_, _, names)| names.contains(&wanted.as_str()))?;
        let signature = ops::find(op).map_or_else(|| format!("{op}(…)"), ops::OpEntry::signature);
        let remark = if remark.is_empty() { String::new() } else { format!("; {remark}") };
        Some(format!("here it is `{signature}`{remark}"))
    };
    ways.or_else(op).map(Meant::Help)
}

/// What somebody meant by the name of a parameter; `known` are those of the callee.
pub(super) fn parameter(name: &str, known: &[&str]) -> Option<String> {
    let wanted = plain(name);
    if KNOWN.contains(&wanted.as_str()) {
        return Some("leave it out: it follows from the shape of `x`".to_owned());
    }
    let same = known.iter().copied().find(|known| plain(known) == wanted);
    let meant = || {
        let (_, names) = PARAMETERS.iter().find(|(foreign, _)| *foreign == wanted)?;
        names.iter().copied().find(|name| known.contains(name))
    };
    same.or_else(meant).map(|meant| format!("here it is `{meant}`"))
}

/// What to do about a variable that is none here, but is known elsewhere.
pub(super) fn variable(name: &str) -> Option<String> {
    match name {
        "self" => {
            Some("a net has no `self`: layers are called where they stand, and named by `name = \"conv1\"`".to_owned())
        }
        _ if FRAMEWORKS.contains(&name) => {
            Some(format!("ops stand for themselves: leave `{name}.` out, as in `x.relu()` or `relu(x)`"))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::builtin;
    use super::*;

    fn known() -> Vec<&'static str> {
        builtin::names().chain(ops::names()).collect()
    }

    fn help(name: &str) -> String {
        match function(name, known()) {
            Some(Meant::Help(help)) => help,
            Some(Meant::Unsupported(_)) => "unsupported".to_owned(),
            None => "unknown".to_owned(),
        }
    }

    #[test]
    fn names_of_pytorch_keras_and_onnx_are_known() {
        for (names, op) in [
            ("Conv Conv2d Conv2D conv2d", "conv"),
            ("Linear Dense dense fc Gemm", "linear"),
            ("batch_norm BatchNorm2d batchnorm BatchNormalization", "bn"),
            ("MaxPool MaxPool2d max_pool2d MaxPooling2D", "max_pool"),
            ("AvgPool2d avg_pool2d AveragePool AveragePooling2D", "avg_pool"),
            ("GlobalAveragePool GlobalAveragePooling2D", "global_avg_pool"),
            ("AdaptiveAvgPool2d adaptive_avg_pool2d", "adaptive_avg_pool"),
            ("Upsample upsample interpolate Resize UpSampling2D", "resize"),
            ("ReLU Relu", "relu"),
            ("LeakyReLU LeakyRelu", "leaky_relu"),
            ("HardSwish Hardswish hardswish", "hard_swish"),
            ("SiLU", "silu"),
            ("cat Concat Concatenate concatenate", "concat"),
            ("pixel_shuffle PixelShuffle DepthToSpace", "depth_to_space"),
            ("permute Permute Transpose", "transpose"),
            ("view Reshape squeeze", "reshape"),
            ("clamp Clip", "clip"),
            ("ZeroPad2d ZeroPadding2D Pad", "pad"),
            ("ReduceMean reduce_mean", "mean"),
            ("chunk Split", "split"),
        ] {
            for name in names.split_whitespace() {
                let help = help(name);
                let starts = [format!("here it is `{op}`"), format!("here it is `{op}(")];
                assert!(starts.iter().any(|start| help.starts_with(start)), "{name}: {help}");
            }
        }
        for name in ["layer_norm", "LayerNorm", "LayerNormalization", "deconv", "ConvTranspose2d", "conv_transpose"] {
            assert_eq!(help(name), "unsupported", "{name}");
        }
        for name in ["iter", "map", "to_string", "clone", "unwrap", "push", "range", "Sequential"] {
            assert!(!help(name).starts_with("here it is"), "{name}: {}", help(name));
        }
        assert_eq!(help("frobnicate"), "unknown");
    }

    #[test]
    fn parameters_are_those_of_the_callee() {
        let conv: Vec<&str> =
            ops::find("conv").map(|op| op.params.iter().map(|param| param.name).collect()).expect("an op");
        for (name, meant) in [
            ("kernel_size", "kernel"),
            ("out_channels", "channels"),
            ("filters", "channels"),
            ("use_bias", "bias"),
            ("strides", "stride"),
            ("dilation_rate", "dilation"),
        ] {
            assert_eq!(parameter(name, &conv), Some(format!("here it is `{meant}`")));
        }
        assert!(parameter("in_channels", &conv).is_some_and(|help| help.starts_with("leave it out")));
        assert_eq!((parameter("units", &conv), parameter("frobnicate", &conv)), (None, None));
    }

    #[test]
    fn every_name_stands_once_and_means_something() {
        let ops = OPS.iter().flat_map(|(_, _, names)| names.iter());
        let names: Vec<&str> =
            ops.chain(WAYS.iter().flat_map(|(_, names)| names.iter())).chain(ONLY_ONNX).copied().collect();
        let mut seen = BTreeSet::new();
        for name in names {
            assert!(seen.insert(name), "{name} stands twice");
            assert_eq!(plain(name), name);
            assert!(!known().iter().any(|known| plain(known) == name), "{name} is the language's own");
        }
        assert!(OPS.iter().all(|(op, _, _)| known().contains(op)));
        let parameters: BTreeSet<&str> = ops::all().iter().flat_map(|op| op.params).map(|param| param.name).collect();
        assert!(
            PARAMETERS.iter().all(
                |(foreign, names)| plain(foreign) == *foreign && names.iter().all(|name| parameters.contains(name))
            )
        );
    }
}

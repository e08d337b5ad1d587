//! ONNX's own test cases, in the folder that `KILN_ONNX_CASES` names: see `tests/conformance/README.md`. Without the variable
//! there is nothing to hold against.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use kiln_compiler::back::rust::{self, ModuleOptions, Signature};
use kiln_compiler::front::onnx::{self, Import, Settings};
use kiln_compiler::graph::{DType, Elements, TensorType, interp};
use kiln_compiler::onnx_schema::Message;
use kiln_compiler::onnx_schema::{ModelProto, TensorProto, ValueInfoProto, type_proto};
use kiln_compiler::pipeline::{Compiled, Options, compile};
use kiln_compiler::target::Target;

use crate::crates::{from_bytes, to_bytes};
use crate::onnx::Beside;

/// How many cases of the list must hold, in percent.
const SHARE: usize = 97;
/// Cases in one program.
const BATCH: usize = 120;

fn text(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance").join(file);
    std::fs::read_to_string(path).expect("a file")
}

/// The names of a list, each before a colon.
fn names(text: &str) -> Vec<&str> {
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| line.split_once(':').expect("NAME: …").0).collect()
}

#[test]
fn skipped_cases_are_of_the_list_and_have_reasons() {
    let (cases, skipped) = (text("cases.txt"), text("skipped.txt"));
    let cases: BTreeSet<&str> = names(&cases).into_iter().collect();
    for line in skipped.lines().filter(|line| !line.starts_with('#')) {
        let (name, reason) = line.split_once(": ").expect("NAME: reason");
        assert!(cases.contains(name) && reason.len() > 10, "{line}");
    }
    let skipped = names(&skipped).len();
    assert!(skipped * 100 <= cases.len() * (100 - SHARE), "{skipped} of {} cases are skipped", cases.len());
}

#[test]
fn the_cases_of_onnx_hold() {
    let Some(folder) = std::env::var_os("KILN_ONNX_CASES") else { return };
    // Cargo starts tests in the package, wherever it was called.
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let (cases, skipped) = (text("cases.txt"), text("skipped.txt"));
    let skipped: BTreeSet<&str> = names(&skipped).into_iter().collect();
    let (mut held, mut problems, mut crates) = (0, Vec::new(), Vec::new());
    let cases = names(&cases);
    for (number, &name) in cases.iter().enumerate() {
        match Case::read(&folder.join(name), number) {
            Ok(case) => {
                held += 1;
                if skipped.contains(name) {
                    problems.push(format!("{name} is skipped, and holds"));
                }
                match case.compiled() {
                    Ok(compiled) => crates.push((name, case, compiled)),
                    Err(why) if case.is_for_crates() => problems.push(format!("{name} is no crate: {why}")),
                    Err(_) => {}
                }
            }
            Err(_) if skipped.contains(name) => {}
            Err(why) => problems.push(format!("{name}: {why}")),
        }
    }
    let mut held_by_crates = 0;
    for batch in crates.chunks(BATCH) {
        let wrong = by_program(batch);
        held_by_crates += batch.len() - wrong.len();
        problems.extend(wrong);
    }
    println!(
        "{held} of {} cases hold by the interpreter, {held_by_crates} of {} as crates, {} are skipped",
        cases.len(),
        crates.len(),
        skipped.len()
    );
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    assert!(held * 100 >= cases.len() * SHARE, "{held} of {}", cases.len());
}

/// A case that the interpreter holds.
struct Case {
    number: usize,
    import: Import,
    /// What the network's inputs are given.
    inputs: Vec<Elements>,
    expected: Vec<Expected>,
}

/// An output that a case must give.
struct Expected {
    /// Its type, or the one in which kiln holds it.
    ty: TensorType,
    elements: Elements,
    /// How far its numbers may be from those in f32, which kiln keeps where a network has halves, by their size.
    rounding: f64,
}

impl Expected {
    /// `declared` is the type that the model says, which for a bf16 is not that of the tensor: NumPy has none, and its bits
    /// are stored as u16.
    fn of(tensor: &TensorProto, declared: i32) -> Result<Self, String> {
        let named = if declared == 16 { declared } else { tensor.data_type() };
        let bits = |exponent: u32, mantissa: u32, bias: i32, is_fnuz: bool| {
            let numbers = bytes(tensor).map(|byte| minifloat(byte.into(), exponent, mantissa, bias, is_fnuz) as f32);
            (DType::F32, Elements::F32(numbers.collect()))
        };
        let halves = |wide: fn(u16) -> f32| {
            let raw = tensor.raw_data.as_deref().unwrap_or_default();
            let numbers = raw.chunks_exact(2).map(|b| wide(u16::from_le_bytes([b[0], b[1]])));
            (DType::F32, Elements::F32(numbers.collect()))
        };
        let len = tensor.dims.iter().product::<i64>() as usize;
        // Two of four bits lie in a byte, the first in its low bits.
        let nibbles = || bytes(tensor).flat_map(|byte| [byte & 15, byte >> 4]).take(len);
        let (dtype, elements) = match named {
            5 if tensor.raw_data.is_none() => (DType::I32, Elements::I32(tensor.int32_data.clone())),
            5 => {
                let raw = tensor.raw_data.as_deref().unwrap_or_default();
                (
                    DType::I32,
                    Elements::I32(raw.chunks_exact(2).map(|b| i16::from_le_bytes([b[0], b[1]]).into()).collect()),
                )
            }
            10 => halves(|bits| minifloat(bits, 5, 10, 15, false) as f32),
            16 => halves(|bits| f32::from_bits(u32::from(bits) << 16)),
            17 => bits(4, 3, 7, false),
            18 => bits(4, 3, 8, true),
            19 => bits(5, 2, 15, false),
            20 => bits(5, 2, 16, true),
            21 => (DType::U8, Elements::U8(nibbles().collect())),
            22 => (DType::I8, Elements::I8(nibbles().map(|bits| (bits << 4) as i8 >> 4).collect())),
            _ => (type_of(tensor)?.dtype, elements(tensor)?),
        };
        // A bf16 may be rounded towards zero.
        let rounding = match named {
            10 => 2f64.powi(-11),
            16 => 2f64.powi(-7),
            _ => 0.0,
        };
        let shape = tensor.dims.iter().map(|&extent| extent as usize).collect();
        Ok(Expected { ty: TensorType { dtype, shape }, elements, rounding })
    }
}

/// The number of the type that a model says of a value, 0 where it says none.
fn declared_type(value: &ValueInfoProto) -> i32 {
    let value = value.r#type.as_ref().and_then(|ty| ty.value.as_ref());
    if let Some(type_proto::Value::TensorType(tensor)) = value { tensor.elem_type() } else { 0 }
}

/// The bytes of a tensor, or those in the field of integers.
fn bytes(tensor: &TensorProto) -> impl Iterator<Item = u8> {
    let raw = tensor.raw_data.as_deref().unwrap_or_default();
    raw.iter().copied().chain(tensor.int32_data.iter().map(|&byte| byte as u8))
}

/// The number of a sign, an exponent and a mantissa, as ONNX has them in "Float stored in 8 bits", and of halves.
fn minifloat(bits: u16, exponent: u32, mantissa: u32, bias: i32, is_fnuz: bool) -> f64 {
    let sign = if bits >> (exponent + mantissa) == 1 { -1.0 } else { 1.0 };
    let (most, fraction) = ((1 << exponent) - 1, f64::from(bits & ((1 << mantissa) - 1)) / f64::from(1 << mantissa));
    let power = i32::from(bits >> mantissa) & most;
    let is_special = match (is_fnuz, exponent) {
        (true, _) => bits == 1 << (exponent + mantissa),
        (false, 4) => power == most && fraction == 0.875,
        (false, _) => power == most,
    };
    match (is_special, power) {
        (true, _) if !is_fnuz && fraction == 0.0 => sign * f64::INFINITY,
        (true, _) => f64::NAN,
        (false, 0) => sign * fraction * 2f64.powi(1 - bias),
        (false, _) => sign * (1.0 + fraction) * 2f64.powi(power - bias),
    }
}

impl Case {
    /// Reads a case and runs it by the interpreter.
    fn read(folder: &Path, number: usize) -> Result<Self, String> {
        let file = std::fs::read(folder.join("model.onnx")).map_err(|error| error.to_string())?;
        let mut model = ModelProto::decode(&*file).map_err(|error| error.to_string())?;
        let graph = model.graph.get_or_insert_default();
        let constants: BTreeSet<String> = graph.initializer.iter().map(|tensor| tensor.name().to_owned()).collect();
        let names: Vec<String> = graph.input.iter().map(|input| input.name().to_owned()).collect();
        let names: Vec<String> = names.into_iter().filter(|name| !constants.contains(name)).collect();
        let declared: Vec<i32> = graph.output.iter().map(declared_type).collect();
        let stored = |kind: &str, i: usize| folder.join(format!("test_data_set_0/{kind}_{i}.pb"));
        let mut given = BTreeMap::new();
        for (i, name) in names.iter().enumerate().filter(|(i, _)| stored("input", *i).is_file()) {
            given.insert(name.clone(), tensor(&stored("input", i))?);
        }
        let import = imported(model, folder, &given, number)?;
        let inputs = import.graph.inputs().iter().map(|&id| elements(&given[&import.graph.node(id).origin.name]));
        let inputs = inputs.collect::<Result<Vec<_>, _>>()?;
        let expected = (0..).map(|i| stored("output", i)).take_while(|path| path.is_file());
        let expected = expected.map(|path| tensor(&path)).collect::<Result<Vec<TensorProto>, _>>()?;
        let expected = expected.iter().zip(declared).map(|(tensor, declared)| Expected::of(tensor, declared));
        let expected = expected.collect::<Result<Vec<_>, String>>()?;
        let found = interp::run(&import.graph, &import.tensors, &inputs).map_err(|error| error.to_string())?;
        let case = Case { number, import, inputs, expected };
        case.hold(&found)?;
        Ok(case)
    }

    /// Whether outputs are those of the case.
    fn hold(&self, found: &[Elements]) -> Result<(), String> {
        let graph = &self.import.graph;
        if graph.outputs().len() != self.expected.len() {
            return Err(format!("{} outputs, not {}", graph.outputs().len(), self.expected.len()));
        }
        for ((output, found), Expected { ty, elements, rounding }) in
            graph.outputs().iter().zip(found).zip(&self.expected)
        {
            let own = &graph.node(output.node).ty;
            if own != ty {
                return Err(format!("`{}` is {own}, not {ty}", output.name));
            }
            // As ONNX compares, and relative to the largest; integers are equal.
            let (found, expected) = (found.to_f64(), elements.to_f64());
            if found.len() != own.len() || expected.len() != own.len() {
                return Err(format!(
                    "`{}` has {} elements, and {} are expected",
                    output.name,
                    found.len(),
                    expected.len()
                ));
            }
            let largest = expected.iter().filter(|v| v.is_finite()).fold(0f64, |most, v| most.max(v.abs()));
            for (i, (a, b)) in found.iter().zip(&expected).enumerate() {
                let room = rounding.max(1e-3) * b.abs().min(largest) + 1e-6 * largest + 1e-7;
                let near = ty.dtype.is_float() && (a - b).abs() <= room;
                if a != b && !near && !(a.is_nan() && b.is_nan()) {
                    return Err(format!("`{}`: element {i} is {a}, not {b}", output.name));
                }
            }
        }
        Ok(())
    }

    /// Whether crates have values of all of its types; they have none without elements.
    fn is_for_crates(&self) -> bool {
        let graph = &self.import.graph;
        let of_crates = |dtype| matches!(dtype, DType::F32 | DType::I32 | DType::I8 | DType::U8);
        graph.order().into_iter().all(|id| of_crates(graph.node(id).ty.dtype) && !graph.node(id).ty.is_empty())
    }

    fn compiled(&self) -> Result<Compiled, String> {
        let options = Options { targets: vec![Target::detect()], ..Options::default() };
        compile(self.import.graph.clone(), &options).map_err(|error| error.to_string())
    }
}

/// The network of a model, of which as many inputs as can be stay inputs.
fn imported(
    model: ModelProto,
    folder: &Path,
    given: &BTreeMap<String, TensorProto>,
    number: usize,
) -> Result<Import, String> {
    let import = |constant: &BTreeSet<&String>| {
        let mut settings = Settings::default();
        for (name, tensor) in given {
            let (ty, elements) = (type_of(tensor)?, elements(tensor)?);
            if constant.contains(name) {
                settings.fix(name, ty.shape, elements);
            } else {
                settings.offer(Some(name), ty.shape, elements);
            }
        }
        let (name, file) = (format!("case{number}.onnx"), model.encode_to_vec());
        onnx::import(&name, file.into(), &settings, &Beside(folder.to_owned())).map_err(|error| error.to_string())
    };
    // What an operator has for known operands alone, as a sum of them with another type, all of them are.
    import(&BTreeSet::new()).or_else(|why| import(&given.keys().collect()).map_err(|_| why))
}

fn tensor(path: &Path) -> Result<TensorProto, String> {
    let bytes = std::fs::read(path).map_err(|error| error.to_string())?;
    TensorProto::decode(&*bytes).map_err(|error| error.to_string())
}

fn type_of(tensor: &TensorProto) -> Result<TensorType, String> {
    let dtype = match tensor.data_type() {
        1 => DType::F32,
        2 => DType::U8,
        3 => DType::I8,
        6 => DType::I32,
        7 => DType::I64,
        9 => DType::Bool,
        11 => DType::F64,
        other => return Err(format!("a tensor of type {other}")),
    };
    Ok(TensorType { dtype, shape: tensor.dims.iter().map(|&extent| extent as usize).collect() })
}

fn elements(tensor: &TensorProto) -> Result<Elements, String> {
    let ty = type_of(tensor)?;
    let raw = tensor.raw_data.as_deref().unwrap_or_default();
    let words = || raw.chunks_exact(8).map(|b| [b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]]);
    let stored = match ty.dtype {
        DType::F64 => Elements::F64(words().map(f64::from_le_bytes).collect()),
        DType::I64 => Elements::I64(words().map(i64::from_le_bytes).collect()),
        DType::Bool => Elements::Bool(raw.iter().map(|&b| b != 0).collect()),
        dtype @ (DType::F32 | DType::I32 | DType::I8 | DType::U8) => from_bytes(dtype, raw),
    };
    if stored.len() == ty.len() {
        return Ok(stored);
    }
    // Else they stand in the field of their type.
    let ints = || tensor.int32_data.iter();
    Ok(match ty.dtype {
        DType::F32 => Elements::F32(tensor.float_data.clone()),
        DType::F64 => Elements::F64(tensor.double_data.clone()),
        DType::I64 => Elements::I64(tensor.int64_data.clone()),
        DType::I32 => Elements::I32(tensor.int32_data.clone()),
        DType::I8 => Elements::I8(ints().map(|&v| v as i8).collect()),
        DType::U8 => Elements::U8(ints().map(|&v| v as u8).collect()),
        DType::Bool => Elements::Bool(ints().map(|&v| v != 0).collect()),
    })
}

/// Runs cases by the code that their crates would hold, of which one program has one runtime for all: what is wrong.
fn by_program(cases: &[(&str, Case, Compiled)]) -> Vec<String> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("conformance");
    std::fs::remove_dir_all(&folder).ok();
    std::fs::create_dir_all(&folder).expect("a folder");
    let mut program = String::from("#![allow(warnings)]\n");
    let mut calls = String::new();
    for (i, (_, case, compiled)) in cases.iter().enumerate() {
        let emitted = rust::Compiled::new(Signature::of(&compiled.source), &compiled.programs).expect("it emits");
        let packing = emitted.packing();
        let weights_file = format!("case{}.bin", case.number);
        let file = std::fs::File::create(folder.join(&weights_file)).expect("a file");
        let written = packing.program().write(&case.import.tensors, packing.hash, file).expect("the weights fit");
        let (source, package) = (format!("case {}", case.number), format!("case{}", case.number));
        let options = ModuleOptions { source, package, weights_file, content_hash: written.content_hash };
        let module = rust::emit_module(&emitted, &options).expect("it emits");
        // The runtime is the last module, and the same in all.
        let (code, runtime) = module.split_once("\nmod rt {").expect("a runtime");
        if i == 0 {
            program += &format!("mod rt {{{runtime}\n");
        }
        // Its attributes, which stand before it, are those of the import in its place.
        program += &format!("mod case{} {{\n{code}\nuse super::rt;\n}}\n", case.number);
        calls += &format!("    run!(case{0}, Case{0});\n", case.number);
        for (k, input) in case.inputs.iter().enumerate() {
            std::fs::write(folder.join(format!("case{}_in{k}", case.number)), to_bytes(input)).expect("a file");
        }
    }
    program += &format!("{MAIN}\nfn main() {{\n{calls}}}\n");
    let main = folder.join("main.rs");
    std::fs::write(&main, program).expect("a file");
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc)
        .args(["--edition", "2024", "-C", "opt-level=1", "-C", "codegen-units=16", "-o", "main", "main.rs"])
        .current_dir(&folder)
        .env("OUT_DIR", &folder)
        .output()
        .expect("rustc runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let output = Command::new(folder.join("main")).current_dir(&folder).output().expect("the program runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut wrong = Vec::new();
    for (name, case, _) in cases {
        let found = case.expected.iter().enumerate().map(|(k, Expected { ty, .. })| {
            let path = folder.join(format!("case{}_out{k}", case.number));
            from_bytes(ty.dtype, &std::fs::read(path).expect("an output"))
        });
        if let Err(why) = case.hold(&found.collect::<Vec<_>>()) {
            wrong.push(format!("{name} as a crate: {why}"));
        }
    }
    std::fs::remove_dir_all(&folder).ok();
    wrong
}

/// What runs a case: its inputs come from files, and its outputs go to files.
const MAIN: &str = r#"
enum Numbers {
    F32(Vec<f32>),
    I32(Vec<i32>),
    I8(Vec<i8>),
    U8(Vec<u8>),
}

fn read(path: String, dtype: rt::tensor::DType) -> Numbers {
    use rt::tensor::DType;
    let data = std::fs::read(path).unwrap();
    let words = || data.chunks_exact(4).map(|b| [b[0], b[1], b[2], b[3]]);
    match dtype {
        DType::F32 => Numbers::F32(words().map(f32::from_le_bytes).collect()),
        DType::I32 => Numbers::I32(words().map(i32::from_le_bytes).collect()),
        DType::I8 => Numbers::I8(data.iter().map(|&b| b as i8).collect()),
        DType::U8 => Numbers::U8(data),
    }
}

fn write(path: String, output: rt::tensor::Elements<'_>) {
    use rt::tensor::Elements;
    let data: Vec<u8> = match output {
        Elements::F32(v) => v.iter().flat_map(|v| v.to_le_bytes()).collect(),
        Elements::I32(v) => v.iter().flat_map(|v| v.to_le_bytes()).collect(),
        Elements::I8(v) => v.iter().map(|&v| v as u8).collect(),
        Elements::U8(v) => v.to_vec(),
    };
    std::fs::write(path, data).unwrap();
}

macro_rules! run {
    ($module:ident, $model:ident) => {{
        use rt::tensor::Elements;
        let model = $module::$model::load().unwrap();
        let mut session = model.session(rt::session::Threads::new(1));
        let name = stringify!($module);
        let infos = $module::$model::INPUTS;
        let given: Vec<Numbers> =
            infos.iter().enumerate().map(|(k, info)| read(format!("{name}_in{k}"), info.dtype)).collect();
        let inputs: Vec<(&str, Elements<'_>)> = infos
            .iter()
            .zip(&given)
            .map(|(info, numbers)| {
                let elements = match numbers {
                    Numbers::F32(v) => Elements::F32(v),
                    Numbers::I32(v) => Elements::I32(v),
                    Numbers::I8(v) => Elements::I8(v),
                    Numbers::U8(v) => Elements::U8(v),
                };
                (info.name, elements)
            })
            .collect();
        session.run_elements(&inputs).unwrap();
        for (k, info) in $module::$model::OUTPUTS.iter().enumerate() {
            write(format!("{name}_out{k}"), session.elements(info.name).unwrap());
        }
    }};
}
"#;

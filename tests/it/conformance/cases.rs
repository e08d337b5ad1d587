//! The cases: which there are, and how each is imported.

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;

use kiln_compiler::front::onnx::proto::type_proto::Value;
use kiln_compiler::front::onnx::proto::{ModelProto, TensorProto};
use kiln_compiler::front::onnx::{self, Bytes, Folder, Import, Settings};
use kiln_compiler::graph::{DType, Elements};
use prost::Message;

use crate::crates::from_bytes;

const GROUPS: [&str; 4] = ["node", "pytorch-converted", "pytorch-operator", "simple"];

/// The operators of ONNX that Kiln is for.
const OPERATORS: &str = "\
    Conv ConvTranspose Gemm MatMul BatchNormalization InstanceNormalization LRN \
    MaxPool AveragePool GlobalAveragePool GlobalMaxPool \
    Relu LeakyRelu PRelu Elu Selu Sigmoid HardSigmoid HardSwish Tanh Gelu Erf Softplus Mish Clip Softmax LogSoftmax \
    Add Sub Mul Div Pow Sqrt Exp Neg Abs Min Max Sum Mean \
    Concat Split Slice Pad Reshape Flatten Transpose Squeeze Unsqueeze Identity Dropout Cast Resize Upsample \
    DepthToSpace SpaceToDepth ReduceMean ReduceSum ReduceMax ReduceMin ReduceL2 ArgMax TopK \
    QuantizeLinear DequantizeLinear DynamicQuantizeLinear QLinearConv QLinearMatMul ConvInteger MatMulInteger \
    Constant Shape Gather ConstantOfShape Range Expand Where Equal";

/// A case of ONNX on operators that Kiln is for.
pub(super) struct Case {
    /// `node/test_relu`
    pub(super) name: String,
    /// Its operators, in the order of their names.
    operators: BTreeSet<String>,
    /// The types of its inputs.
    pub(super) types: BTreeSet<String>,
    /// Its inputs that Kiln needs when it compiles.
    constants: Vec<String>,
    pub(super) model: Result<Model, String>,
}

/// A case that is imported.
pub(super) struct Model {
    pub(super) import: Import,
    pub(super) inputs: Vec<Elements>,
    pub(super) expected: Vec<Elements>,
}

impl Case {
    /// Whether all of its inputs are of type f32.
    pub(super) fn is_of_f32s(&self) -> bool {
        self.types.iter().all(|ty| ty == "f32")
    }
}

impl fmt::Display for Case {
    /// `node/test_conv: Conv: f32: constant W`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let joined = |of: &BTreeSet<String>| of.iter().map(String::as_str).collect::<Vec<_>>().join(" ");
        write!(f, "{}: {}: {}", self.name, joined(&self.operators), joined(&self.types))?;
        if !self.constants.is_empty() {
            write!(f, ": constant {}", self.constants.join(" "))?;
        }
        Ok(())
    }
}

/// All cases, in the order of their names.
pub(super) fn all(folder: &Path) -> Vec<Case> {
    let mut cases = Vec::new();
    for group in GROUPS {
        let entries = std::fs::read_dir(folder.join(group)).unwrap_or_else(|error| panic!("{group}: {error}"));
        let mut names: Vec<String> =
            entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        cases.extend(names.iter().filter_map(|name| read(folder, &format!("{group}/{name}"))));
    }
    cases
}

/// A case, if its operators and the types of its inputs are among those that Kiln is for.
fn read(folder: &Path, name: &str) -> Option<Case> {
    let folder = folder.join(name);
    let bytes = std::fs::read(folder.join("model.onnx")).ok()?;
    let model = ModelProto::decode(&*bytes).expect("a model");
    let graph = model.graph.as_ref().expect("a graph");
    let operators: BTreeSet<String> = graph.node.iter().map(|node| node.op_type().to_owned()).collect();
    if !operators.iter().all(|operator| OPERATORS.split(' ').any(|known| known == operator)) {
        return None;
    }
    let given = |name: &str| graph.initializer.iter().any(|tensor| tensor.name() == name);
    let inputs: Vec<_> = graph.input.iter().filter(|input| !given(input.name())).collect();
    let mut types = BTreeSet::new();
    for input in &inputs {
        let Some(Value::TensorType(tensor)) = input.r#type.as_ref()?.value.as_ref() else { return None };
        types.insert(dtype(tensor.elem_type())?.to_string());
    }
    let names: Vec<String> = inputs.iter().map(|input| input.name().to_owned()).collect();
    let case = |constants, model| Case { name: name.to_owned(), operators, types, constants, model };
    let stored = |kind: &str| -> Result<Vec<TensorProto>, String> {
        let path = |i: usize| folder.join(format!("test_data_set_0/{kind}_{i}.pb"));
        let files = (0..).map(path).take_while(|path| path.is_file());
        let read = |path| std::fs::read(path).map_err(|error| error.to_string());
        files.map(|path| TensorProto::decode(&*read(path)?).map_err(|error| error.to_string())).collect()
    };
    let tensors = (|| {
        let [inputs, expected] = [stored("input")?, stored("output")?];
        let elements = |tensors: &[TensorProto]| tensors.iter().map(elements).collect::<Result<Vec<_>, _>>();
        Ok((elements(&inputs)?, elements(&expected)?, inputs))
    })();
    let (inputs, expected, tensors): (Vec<Elements>, Vec<Elements>, Vec<TensorProto>) = match tensors {
        Ok(tensors) => tensors,
        Err(why) => return Some(case(Vec::new(), Err(why))),
    };
    assert_eq!(inputs.len(), names.len(), "{}", folder.display());
    let mut first = None;
    for constant in choices(names.len()) {
        match import(&model, &names, &tensors, &constant) {
            Ok(import) => {
                let constants = names.iter().zip(&constant).filter(|(_, is)| **is).map(|(name, _)| name.clone());
                let constants = constants.collect();
                let inputs = inputs.into_iter().zip(&constant).filter(|(_, is)| !**is).map(|(input, _)| input);
                return Some(case(constants, Ok(Model { import, inputs: inputs.collect(), expected })));
            }
            Err(why) => {
                first.get_or_insert(why);
            }
        }
    }
    Some(case(Vec::new(), Err(first.expect("one choice at least"))))
}

/// Which inputs are constants: as few as can be, and of those choices the one of the last inputs.
fn choices(inputs: usize) -> Vec<Vec<bool>> {
    let all = (0..1usize << inputs.min(8)).map(|bits| (0..inputs).map(|i| bits >> i & 1 == 1).collect::<Vec<bool>>());
    let mut all: Vec<Vec<bool>> = all.collect();
    let count = |choice: &[bool]| choice.iter().filter(|is| **is).count();
    all.sort_by(|a, b| count(a).cmp(&count(b)).then_with(|| b.iter().rev().cmp(a.iter().rev())));
    all
}

/// No case keeps anything in other files.
struct Nothing;

impl Folder for Nothing {
    fn open(&self, path: &str) -> Result<Bytes, String> {
        Err(format!("there is no {path}"))
    }
}

fn import(model: &ModelProto, names: &[String], tensors: &[TensorProto], constant: &[bool]) -> Result<Import, String> {
    let mut model = model.clone();
    let graph = model.graph.as_mut().expect("a graph");
    for ((name, tensor), _) in names.iter().zip(tensors).zip(constant).filter(|(_, is)| **is) {
        graph.initializer.push(TensorProto { name: Some(name.clone()), ..tensor.clone() });
    }
    let import = onnx::import("case.onnx", model.encode_to_vec().into(), &Settings::default(), &Nothing);
    let import = import.map_err(|error| error.to_string())?;
    Ok(import)
}

/// The type of that number in ONNX, if kiln has it.
fn dtype(number: i32) -> Option<DType> {
    Some(match number {
        1 => DType::F32,
        2 => DType::U8,
        3 => DType::I8,
        6 => DType::I32,
        7 => DType::I64,
        9 => DType::Bool,
        11 => DType::F64,
        _ => return None,
    })
}

fn elements(tensor: &TensorProto) -> Result<Elements, String> {
    let number = tensor.data_type();
    let dtype = dtype(number).ok_or_else(|| format!("a tensor of type {number}, which kiln has not"))?;
    let integers: Vec<f64> = tensor.int32_data.iter().map(|&v| v.into()).collect();
    Ok(match (&tensor.raw_data, dtype) {
        (Some(raw), _) => from_bytes(dtype, raw),
        (None, DType::F32) => Elements::F32(tensor.float_data.clone()),
        (None, DType::F64) => Elements::F64(tensor.double_data.clone()),
        (None, DType::I64) => Elements::I64(tensor.int64_data.clone()),
        (None, DType::I32 | DType::I8 | DType::U8 | DType::Bool) => Elements::from_f64(dtype, &integers),
    })
}

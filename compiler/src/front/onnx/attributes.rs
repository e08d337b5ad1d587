//! A node's attributes, by name and type.

use super::Problem;
use super::proto::attribute_proto::AttributeType;
use super::proto::{AttributeProto, NodeProto, SparseTensorProto, TensorProto};

/// The attributes of a node.
#[derive(Clone, Copy)]
pub(super) struct Attributes<'a>(pub(super) &'a NodeProto);

impl<'a> Attributes<'a> {
    fn find(self, name: &str, kind: AttributeType) -> Result<Option<&'a AttributeProto>, Problem> {
        let Some(found) = self.0.attribute.iter().find(|attribute| attribute.name() == name) else { return Ok(None) };
        // Files of the first version do not say an attribute's type.
        if found.r#type.is_some() && found.r#type() != kind && found.r#type() != AttributeType::Undefined {
            return Err(Problem::new(format!(
                "the attribute `{name}` is of type {}, not {}",
                found.r#type().as_str_name(),
                kind.as_str_name()
            )));
        }
        if found.ref_attr_name.as_deref().is_some_and(|name| !name.is_empty()) {
            return Err(Problem::new(format!("its attribute `{name}` is one of a function that it does not stand in")));
        }
        Ok(Some(found))
    }

    pub(super) fn int(self, name: &str) -> Result<Option<i64>, Problem> {
        Ok(self.find(name, AttributeType::Int)?.map(AttributeProto::i))
    }

    pub(super) fn int_or(self, name: &str, default: i64) -> Result<i64, Problem> {
        Ok(self.int(name)?.unwrap_or(default))
    }

    pub(super) fn ints(self, name: &str) -> Result<Option<&'a [i64]>, Problem> {
        Ok(self.find(name, AttributeType::Ints)?.map(|attribute| attribute.ints.as_slice()))
    }

    pub(super) fn float(self, name: &str) -> Result<Option<f32>, Problem> {
        Ok(self.find(name, AttributeType::Float)?.map(AttributeProto::f))
    }

    pub(super) fn float_or(self, name: &str, default: f32) -> Result<f32, Problem> {
        Ok(self.float(name)?.unwrap_or(default))
    }

    pub(super) fn floats(self, name: &str) -> Result<Option<&'a [f32]>, Problem> {
        Ok(self.find(name, AttributeType::Floats)?.map(|attribute| attribute.floats.as_slice()))
    }

    pub(super) fn text(self, name: &str) -> Result<Option<&'a str>, Problem> {
        let Some(found) = self.find(name, AttributeType::String)? else { return Ok(None) };
        match std::str::from_utf8(found.s.as_deref().unwrap_or_default()) {
            Ok(text) => Ok(Some(text)),
            Err(_) => Err(Problem::new(format!("the attribute `{name}` is not UTF-8"))),
        }
    }

    pub(super) fn text_or(self, name: &str, default: &'static str) -> Result<&'a str, Problem> {
        Ok(self.text(name)?.unwrap_or(default))
    }

    pub(super) fn sparse_tensor(self, name: &str) -> Result<Option<&'a SparseTensorProto>, Problem> {
        Ok(self.find(name, AttributeType::SparseTensor)?.and_then(|attribute| attribute.sparse_tensor.as_deref()))
    }

    pub(super) fn tensor(self, name: &str) -> Result<Option<&'a TensorProto>, Problem> {
        Ok(self.find(name, AttributeType::Tensor)?.and_then(|attribute| attribute.t.as_deref()))
    }
}

/// Attributes that any operator may have: version 1 says with `consumed_inputs` whose memory may be written over.
const ANYWHERE: [&str; 1] = ["consumed_inputs"];

/// Whether an attribute is none of ONNX's, whose names are words of C: a note that a tool left for itself, as
/// `com.example.layer`, or the two underscores that ONNX's own checker lets pass.
fn is_foreign(name: &str) -> bool {
    name.starts_with("__") || name.contains(|c: char| !c.is_ascii_alphanumeric() && c != '_')
}

impl Attributes<'_> {
    /// Whether an operator's conversion looks at all attributes of the node.
    ///
    /// # Errors
    /// Those that it does not know: they might change what the node means.
    pub(super) fn check(self, operator: &str) -> Result<(), Problem> {
        let known = honoured(operator);
        let unknown: Vec<String> = self
            .0
            .attribute
            .iter()
            .map(AttributeProto::name)
            .filter(|name| !known.contains(name) && !ANYWHERE.contains(name) && !is_foreign(name))
            .map(|name| format!("`{name}`"))
            .collect();
        match unknown.as_slice() {
            [] => Ok(()),
            [one] => Err(Problem::new(format!("kiln does not know its attribute {one}"))),
            several => Err(Problem::new(format!("kiln does not know its attributes {}", several.join(", ")))),
        }
    }
}

/// The attributes that an operator's conversion honours, in whichever version they are, and those that say nothing about
/// what kiln computes: of training, of results that kiln does not make, of types that it does not have.
fn honoured(operator: &str) -> &'static [&'static str] {
    match operator {
        "Conv" | "ConvInteger" | "QLinearConv" => {
            &["auto_pad", "dilations", "group", "kernel_shape", "pads", "strides"]
        }
        "ConvTranspose" => {
            &["auto_pad", "dilations", "group", "kernel_shape", "output_padding", "output_shape", "pads", "strides"]
        }
        "MaxPool" => &["auto_pad", "ceil_mode", "dilations", "kernel_shape", "pads", "storage_order", "strides"],
        "AveragePool" => {
            &["auto_pad", "ceil_mode", "count_include_pad", "dilations", "kernel_shape", "pads", "strides"]
        }
        "Resize" => &[
            "antialias",
            "axes",
            "coordinate_transformation_mode",
            "cubic_coeff_a",
            "exclude_outside",
            "extrapolation_value",
            "keep_aspect_ratio_policy",
            "mode",
            "nearest_mode",
        ],
        "Upsample" => &["mode", "scales"],
        "Gemm" => &["alpha", "beta", "broadcast", "transA", "transB"],
        "BatchNormalization" => &["epsilon", "is_test", "momentum", "spatial", "training_mode"],
        "InstanceNormalization" => &["epsilon"],
        "LayerNormalization" => &["axis", "epsilon", "stash_type"],
        "GroupNormalization" => &["epsilon", "num_groups", "stash_type"],
        "LRN" => &["alpha", "beta", "bias", "size"],
        "Softmax" | "LogSoftmax" | "Flatten" | "Gather" | "Concat" => &["axis"],
        "GatherND" => &["batch_dims"],
        "ReduceMean" | "ReduceSum" | "ReduceMax" | "ReduceMin" | "ReduceProd" | "ReduceL1" | "ReduceL2"
        | "ReduceSumSquare" | "ReduceLogSum" => &["axes", "keepdims", "noop_with_empty_axes"],
        "LeakyRelu" | "Elu" => &["alpha"],
        "Selu" => &["alpha", "gamma"],
        "HardSigmoid" => &["alpha", "beta"],
        "Gelu" => &["approximate"],
        "Clip" => &["max", "min"],
        "Add" | "Sub" | "Mul" | "Div" | "Pow" => &["axis", "broadcast"],
        "Dropout" => &["is_test", "ratio", "seed"],
        "Cast" => &["saturate", "to"],
        "CastLike" => &["saturate"],
        "QuantizeLinear" => &["axis", "block_size", "output_dtype", "saturate"],
        "DequantizeLinear" => &["axis", "block_size"],
        "com.microsoft.QuantizeLinear" | "com.microsoft.DequantizeLinear" | "com.microsoft.QLinearConcat" => &["axis"],
        "com.microsoft.QLinearAveragePool" => {
            &["auto_pad", "ceil_mode", "channels_last", "count_include_pad", "kernel_shape", "pads", "strides"]
        }
        "com.microsoft.QLinearGlobalAveragePool" => &["channels_last"],
        "com.microsoft.QLinearSoftmax" => &["axis", "opset"],
        "com.microsoft.QLinearLeakyRelu" => &["alpha"],
        "com.microsoft.QGemm" => &["alpha", "transA", "transB"],
        "Reshape" => &["allowzero", "shape"],
        "Squeeze" | "Unsqueeze" => &["axes"],
        "Transpose" => &["perm"],
        "Split" => &["axis", "num_outputs", "split"],
        "Slice" => &["axes", "ends", "starts"],
        "Pad" => &["mode", "pads", "value"],
        "DepthToSpace" | "SpaceToDepth" => &["blocksize", "mode"],
        "Constant" => &["sparse_value", "value", "value_float", "value_floats", "value_int", "value_ints"],
        "ConstantOfShape" => &["value"],
        "Mod" => &["fmod"],
        "If" => &["else_branch", "then_branch"],
        "Shape" => &["end", "start"],
        "ArgMax" | "ArgMin" => &["axis", "keepdims", "select_last_index"],
        "TopK" => &["axis", "k", "largest", "sorted"],
        _ => &[],
    }
}

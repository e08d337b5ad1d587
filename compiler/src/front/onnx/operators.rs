//! Which family each operator belongs to.

use super::builder::{Builder, Value};
use super::call::Call;
use super::{
    Problem, conv, conv_transpose, fold, gather, integers, linear, microsoft, norm, pointwise, pool, quantize, reduce,
    resize, shape,
};

/// Adds the nodes of a call and gives its results.
pub(super) type Convert = fn(&mut Builder, &Call<'_>) -> Result<Vec<Value>, Problem>;

/// The conversion of an operator, if kiln has it.
pub(super) fn operator(name: &str) -> Option<Convert> {
    Some(match name {
        "Conv" => conv::conv,
        "ConvTranspose" => conv_transpose::conv_transpose,
        "Resize" | "Upsample" => resize::resize,
        "Gemm" => linear::gemm,
        "MatMul" => linear::matmul,
        "BatchNormalization" => norm::batch_norm,
        "Softmax" => norm::softmax,
        "LogSoftmax" => norm::log_softmax,
        "InstanceNormalization" => norm::instance_norm,
        "LayerNormalization" => norm::layer_norm,
        "GroupNormalization" => norm::group_norm,
        "LRN" => norm::local_response_norm,
        "MaxPool" => pool::max_pool,
        "AveragePool" => pool::average_pool,
        "GlobalAveragePool" => pool::global_average_pool,
        "GlobalMaxPool" => pool::global_max_pool,
        "ReduceMean" | "ReduceSum" | "ReduceMax" | "ReduceMin" | "ReduceL1" | "ReduceL2" | "ReduceSumSquare"
        | "ReduceLogSum" => reduce::reduce,
        "Relu" | "LeakyRelu" | "Elu" | "Selu" | "Sigmoid" | "HardSigmoid" | "Tanh" | "HardSwish" | "Gelu" | "Clip"
        | "PRelu" | "Abs" | "Neg" | "Exp" | "Log" | "Sqrt" | "Erf" | "Softplus" | "Softsign" | "Mish"
        | "Reciprocal" => pointwise::activation,
        "Add" | "Sub" | "Mul" | "Div" => pointwise::pair,
        "Sum" | "Mean" => pointwise::sum,
        "Min" | "Max" => pointwise::bound,
        "Pow" => pointwise::power,
        "Identity" | "Dropout" => pointwise::identity,
        "Cast" | "CastLike" => pointwise::cast,
        "QuantizeLinear" => quantize::quantize,
        "DequantizeLinear" => quantize::dequantize,
        "DynamicQuantizeLinear" => quantize::dynamic_quantize,
        "ConvInteger" => integers::conv_integer,
        "MatMulInteger" => integers::matmul_integer,
        "QLinearConv" => integers::qlinear_conv,
        "QLinearMatMul" => integers::qlinear_matmul,
        "com.microsoft.QuantizeLinear" => quantize::quantize,
        "com.microsoft.DequantizeLinear" => quantize::dequantize,
        "com.microsoft.QLinearAdd" => microsoft::qlinear_add,
        "com.microsoft.QLinearMul" => microsoft::qlinear_mul,
        "com.microsoft.QLinearConcat" => microsoft::qlinear_concat,
        "com.microsoft.QLinearAveragePool" => microsoft::qlinear_average_pool,
        "com.microsoft.QLinearGlobalAveragePool" => microsoft::qlinear_global_average_pool,
        "com.microsoft.QLinearSoftmax" => microsoft::qlinear_softmax,
        "com.microsoft.QLinearSigmoid" => microsoft::qlinear_sigmoid,
        "com.microsoft.QLinearLeakyRelu" => microsoft::qlinear_leaky_relu,
        "com.microsoft.QGemm" => microsoft::qgemm,
        "Reshape" => shape::reshape,
        "Flatten" => shape::flatten,
        "Squeeze" => shape::squeeze,
        "Unsqueeze" => shape::unsqueeze,
        "Transpose" => shape::transpose,
        "Gather" => gather::gather,
        "GatherND" => gather::gather_nd,
        "Concat" => shape::concat,
        "Split" => shape::split,
        "Slice" => shape::slice,
        "Pad" => shape::pad,
        "Expand" => shape::expand,
        "DepthToSpace" => shape::depth_to_space,
        "SpaceToDepth" => shape::space_to_depth,
        _ => return None,
    })
}

/// How many of an operator's inputs, from the first on, are data; those after them say how it works: shapes, axes, kernels,
/// bounds.
pub(super) fn data_inputs(name: &str) -> usize {
    match name {
        "Shape" | "Size" | "ConstantOfShape" | "Range" | "If" => 0,
        "Conv"
        | "ConvTranspose"
        | "ConvInteger"
        | "QLinearConv"
        | "Resize"
        | "Upsample"
        | "BatchNormalization"
        | "InstanceNormalization"
        | "GroupNormalization"
        | "ReduceMean"
        | "ReduceSum"
        | "ReduceMax"
        | "ReduceMin"
        | "ReduceProd"
        | "ReduceL1"
        | "ReduceL2"
        | "ReduceSumSquare"
        | "ReduceLogSum"
        | "Clip"
        | "Dropout"
        | "QuantizeLinear"
        | "DequantizeLinear"
        | "com.microsoft.QuantizeLinear"
        | "com.microsoft.DequantizeLinear"
        | "Reshape"
        | "Squeeze"
        | "Unsqueeze"
        | "Gather"
        | "GatherND"
        | "Split"
        | "Slice"
        | "Pad"
        | "Expand"
        | "Tile"
        | "TopK" => 1,
        _ => usize::MAX,
    }
}

/// Whether kiln has an operator, if only of known values.
pub(super) fn is_operator(name: &str) -> bool {
    name == "If" || operator(name).is_some() || fold::is_known(name)
}

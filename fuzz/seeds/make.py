"""Writes the small files that fuzzing starts from: python make.py

ONNX models with one operator of each family, weights inside and beside, constants that are folded; safetensors of several
types. State dicts and specs are there already, in `tests/data/torch` and `compiler/zoo`.
"""

import os

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import save_file

HERE = os.path.dirname(os.path.abspath(__file__))
FLOAT = TensorProto.FLOAT


def numbers(shape):
    return (np.arange(np.prod(shape)) % 7 - 3).astype(np.float32).reshape(shape) / 4


def model(name, shape, nodes, tensors=(), outputs=("y",), external=False):
    weights = [numpy_helper.from_array(value, key) for key, value in tensors]
    graph = helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info("x", FLOAT, shape)],
        [helper.make_tensor_value_info(output, FLOAT, None) for output in outputs],
        weights,
    )
    if external:
        for weight in graph.initializer:
            entries = {"location": "data", "offset": "8", "length": str(len(weight.raw_data))}
            for key, value in entries.items():
                weight.external_data.add(key=key, value=value)
            weight.data_location = TensorProto.EXTERNAL
            weight.ClearField("raw_data")
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    with open(os.path.join(HERE, "onnx", name + ".onnx"), "wb") as file:
        file.write(made.SerializeToString())


def node(op, inputs, outputs=("y",), **attributes):
    return helper.make_node(op, list(inputs), list(outputs), **attributes)


def ints(*values):
    return np.array(values, np.int64)


for folder in ("onnx", "safetensors"):
    os.makedirs(os.path.join(HERE, folder), exist_ok=True)

image = [1, 4, 6, 5]
conv = [("w", numbers((4, 2, 3, 3))), ("b", numbers((4,)))]
model("conv", image, [node("Conv", "xwb", group=2, pads=[1, 1, 1, 1], strides=[2, 1])], conv)
model("external", image, [node("Conv", "xw", group=2, auto_pad="SAME_UPPER")], conv[:1], external=True)
model("open", ["n", 4, 6, 5], [node("Relu", "x")])
model("transposed", image, [node("ConvTranspose", "xw", strides=[2, 2])], [("w", numbers((4, 2, 2, 2)))])
model("pools", image, [
    node("MaxPool", "x", "a", kernel_shape=[2, 2], ceil_mode=1, strides=[2, 2]),
    node("AveragePool", "a", "b", kernel_shape=[2, 2], pads=[1, 1, 0, 0]),
    node("GlobalAveragePool", "b"),
])
model("norm", image, [node("BatchNormalization", "xsbmv", epsilon=0.01)], [(k, abs(numbers((4,))) + 1) for k in "sbmv"])
model("linear", [2, 6], [node("Gemm", "xwb", "a", transB=1, alpha=0.5), node("Softmax", "a", axis=1)],
      [("w", numbers((3, 6))), ("b", numbers((3,)))])
model("product", [2, 6], [node("MatMul", "xw")], [("w", numbers((6, 3)))])
model("pointwise", image, [
    node("Sigmoid", "x", "a"), node("Mul", "xa", "b"), node("Clip", "blh", "c"), node("Add", "cx", "d"),
    node("HardSigmoid", "d", "e", alpha=0.2), node("LeakyRelu", "e", "f", alpha=0.1), node("Exp", "f"),
], [("l", np.float32(0)), ("h", np.float32(6))])
model("resize", image, [node("Resize", ["x", "", "s"], mode="linear")], [("s", np.array([1, 1, 2, 2], np.float32))])
model("reduce", image, [node("ReduceMean", "x", axes=[2, 3], keepdims=0)])
model("folded", image, [
    node("Shape", "x", "s"), node("Gather", "si", "n", axis=0), node("Unsqueeze", "nz", "u"),
    node("Concat", "um", "t", axis=0), node("Reshape", "xt", "r"), node("Cast", "s", "c", to=1), node("Identity", "r"),
], [("i", np.int64(0)), ("z", ints(0)), ("m", ints(-1))])
model("shapes", image, [
    node("Transpose", "x", "a", perm=[0, 2, 3, 1]), node("Slice", ["a", "b", "e", "k"], "c"),
    node("Split", "c", ["d", "f"], axis=3), node("Concat", "df", "g", axis=1), node("Pad", "gp", "h"), node("Flatten", "h"),
], [("b", ints(0)), ("e", ints(4)), ("k", ints(1)), ("p", ints(0, 0, 1, 0, 0, 1, 0, 0))])
model("constant", image, [
    node("Constant", "", "w", value=numpy_helper.from_array(numbers((4, 4, 1, 1)))), node("Conv", "xw"),
])
model("branch", image, [
    node("If", "k", then_branch=helper.make_graph([node("Relu", "x", "t")], "t", [], [helper.make_tensor_value_info("t", FLOAT, None)]),
         else_branch=helper.make_graph([node("Tanh", "x", "t")], "e", [], [helper.make_tensor_value_info("t", FLOAT, None)])),
], [("k", np.array(True))])
byte, ms = (lambda v: np.array(v, np.uint8)), {"domain": "com.microsoft"}
model("quantized", image, [
    node("QuantizeLinear", "xsz", "a"), node("QLinearConv", "aszwsztz", "b"),
    node("QLinearAdd", "bszaszsz", "c", **ms), node("QLinearConcat", "szcszbsz", "d", axis=1, **ms),
    node("QLinearGlobalAveragePool", "dszsz", "e", channels_last=0, **ms), node("Flatten", "e", "f"),
    node("QGemm", "fszvsz", **ms),
], [("s", np.float32(0.5)), ("t", np.float32(2)), ("z", byte(3)), ("w", byte(np.arange(16).reshape(4, 4, 1, 1))),
    ("v", byte(np.arange(24).reshape(8, 3)))])
model("outputs", image, [node("Relu", "x"), node("Tanh", "x", "z")], outputs="yz")

save_file({"a.weight": numbers((2, 3)), "b": numbers((4,)).astype(np.float16), "empty": numbers((0, 2)), "n": ints(1, 2)},
          os.path.join(HERE, "safetensors", "types.safetensors"), {"format": "pt", "quoted": 'a "b" \\ é\n'})
save_file({"x": np.array(1, np.uint8), "y": np.array([True, False])}, os.path.join(HERE, "safetensors", "small.safetensors"))

"""What to change so that an older or smaller runtime runs an operator: option or rewrite."""

from __future__ import annotations

from edgepack.tflite.facts import Op

_PER_TENSOR_DENSE = (
    "set converter._experimental_disable_per_channel_quantization_for_dense_layers = True"
)
_FULL_INT8 = (
    "quantize activations too: give converter.representative_dataset and set "
    "converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]"
)

#: (operator, version) -> how not to need that version. Which use asks for which version is
#: TensorFlow's compiler/mlir/lite/tools/versioning/op_version.cc.
_VERSIONS = {
    ("CONV_2D", 5): _FULL_INT8,
    ("CONV_2D", 6): "write the grouped convolution as split, plain convolutions, concat",
    ("CONV_2D", 7): "keep the weights at int8 instead of int4",
    ("CONV_2D", 8): "leave converter._experimental_full_integer_quantization_bias_type unset",
    ("DEPTHWISE_CONV_2D", 6): _FULL_INT8,
    ("DEPTHWISE_CONV_2D", 7): "keep the weights at int8 instead of int4",
    ("FULLY_CONNECTED", 10): "keep the weights at int8 instead of int4",
    ("FULLY_CONNECTED", 11): (
        "leave converter._experimental_full_integer_quantization_bias_type unset"
    ),
    ("FULLY_CONNECTED", 12): _PER_TENSOR_DENSE,
    ("FULLY_CONNECTED", 13): "keep the weights at int8 instead of int4",
    ("FULLY_CONNECTED", 14): "keep the weights at int8 instead of int2",
    ("TRANSPOSE_CONV", 3): "leave the bias out of the layer and add it with an ADD",
    ("TRANSPOSE_CONV", 4): "put a layer that cannot be fused between it and its activation",
    ("TRANSPOSE_CONV", 5): (
        "leave converter._experimental_full_integer_quantization_bias_type unset"
    ),
    ("STRIDED_SLICE", 8): "write the slice with tf.slice and constant bounds",
    ("TRANSPOSE", 6): "transpose at most 5 dimensions at once",
    ("DEQUANTIZE", 5): "dequantize per tensor, or quantize the whole model to int8",
    ("LOG", 2): "keep LOG out of the quantized part, or use LOG_SOFTMAX",
    ("RSQRT", 3): "normalise with a BatchNormalization that is folded into a convolution",
    ("SQRT", 2): "keep SQRT out of the quantized part",
}
#: Operator -> how to do without it.
_WITHOUT = {
    "BATCH_MATMUL": "set converter.unfold_batchmatmul = True, which writes FULLY_CONNECTED",
    "GELU": "use relu6 or hard_swish, or gelu spelled out with tanh and multiplications",
    "HARD_SWISH": "spell it out: x * relu6(x + 3) / 6",
    "UNIDIRECTIONAL_SEQUENCE_LSTM": "build the layer with unroll=True",
    "TILE": "repeat with CONCATENATION",
    "SELECT": "use tf.where with broadcasting (SELECT_V2) or multiply by a mask",
    "TOPK_V2": "take the best classes outside the model",
    "ONE_HOT": "gather from an identity matrix, or encode outside the model",
    "POW": "multiply, or use SQUARE and SQRT",
    "CONV_3D": "fold one dimension into the batch or the channels and use CONV_2D",
    "RELU_N1_TO_1": "use MAXIMUM and MINIMUM with constants",
    "RELU_0_TO_1": "use RELU6 and a division, or MAXIMUM and MINIMUM with constants",
    "REDUCE_PROD": "multiply the slices one after another",
}


def remedy(op: Op, use: str, line: str) -> str:
    """Return what to change, for an operator that a runtime line does not run as it is."""
    if op.custom:
        return _for_custom(op)
    if op.name == "FULLY_CONNECTED" and use.endswith("/per-channel"):
        return _PER_TENSOR_DENSE
    if line == "tflm":
        hybrid = "+" in use
        return _for_tflm(use) if hybrid else _WITHOUT.get(op.name) or _for_tflm(use)
    found = _VERSIONS.get((op.name, op.version)) or _WITHOUT.get(op.name)
    return found or "ship the newer runtime, or convert with the release carried"


def _for_custom(op: Op) -> str:
    if op.name.startswith("Flex"):
        return (
            "it is a TensorFlow operator (SELECT_TF_OPS): rewrite it with builtin operators, "
            "or ship the runtime with the Flex delegate"
        )
    compilers = {"edgetpu-custom-op": "the Edge TPU compiler", "ethos-u": "Vela"}
    if op.name in compilers:
        return f"{compilers[op.name]} made it: ship the file from before, or list the delegate"
    return "register it in the application, or rewrite it with builtin operators"


def _for_tflm(use: str) -> str:
    data, _, weights = use.partition("+")
    if data == "float32" and weights:
        return _FULL_INT8
    if "uint8" in use:
        return (
            "convert the float model again to int8 "
            "(converter.inference_input_type = tf.int8); TFLM has few uint8 kernels left"
        )
    if data in ("int16", "int32", "int64", "bool"):
        return "compute this part in int8 or float32, or outside the model"
    return "rewrite it with an operator that TFLM has"

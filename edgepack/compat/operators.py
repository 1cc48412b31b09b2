"""Whether the runtime a device carries really runs each operator of a model.

Three questions, answered from what the releases were measured to do:
is there such an operator, does the release take its version, and does its kernel compute
these dtypes — right, wrong or not at all. Old releases compute per-channel
FULLY_CONNECTED silently wrong; that is a refusal here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from edgepack.compat.measured_support import (
    first_correct_release,
    first_release,
    highest_version,
    kernel_status,
    measured_release,
    table,
)
from edgepack.profiles.profile import CarriedRuntime
from edgepack.tflite.facts import Facts, Op
from edgepack.tflite.operators import inputs_of
from edgepack.tflite.per_facts import per_facts
from edgepack.tflite.tensors import Tensor

#: Custom operators that a release brings (register.cc, python_ops_resolver.cc).
CUSTOM_OPS = {
    "tflite": {"AudioSpectrogram", "Mfcc", "NumericVerify", "TFLite_Detection_PostProcess"},
    "litert": {"AudioSpectrogram", "Mfcc", "NumericVerify", "TFLite_Detection_PostProcess"},
    "tflm": {
        "SignalDelay", "SignalEnergy", "SignalFftAutoScale", "SignalFilterBank",
        "SignalFilterBankLog", "SignalFilterBankSpectralSubtraction",
        "SignalFilterBankSquareRoot", "SignalFramer", "SignalIrfft", "SignalOverlapAdd",
        "SignalPCAN", "SignalRfft", "SignalStacker", "SignalWindow",
        "TFLite_Detection_PostProcess",
    },
}  # fmt: skip
#: Which input carries the data, where it is not the first.
_DATA_INPUT = {"SPLIT": 1, "SELECT": 1, "SELECT_V2": 1, "FILL": 1, "ONE_HOT": 2,
               "TRANSPOSE_CONV": 2, "EMBEDDING_LOOKUP": 1}  # fmt: skip
#: Operators whose kernel depends on a second dtype: that of the weights at this input.
_WEIGHTS_INPUT = {"CONV_2D": 1, "DEPTHWISE_CONV_2D": 1, "FULLY_CONNECTED": 1,
                  "TRANSPOSE_CONV": 1, "BATCH_MATMUL": 1, "SVDF": 1, "LSTM": 2,
                  "UNIDIRECTIONAL_SEQUENCE_LSTM": 2}  # fmt: skip
#: Inputs without which no kernel starts; one for every operator that is not here.
_LEAST_INPUTS = {
    "ADD": 2, "BATCH_MATMUL": 2, "CONV_2D": 2, "DEPTHWISE_CONV_2D": 2, "DIV": 2,
    "FULLY_CONNECTED": 2, "LSTM": 20, "MAXIMUM": 2, "MINIMUM": 2, "MUL": 2, "SUB": 2,
    "SVDF": 5, "TRANSPOSE_CONV": 3, "UNIDIRECTIONAL_SEQUENCE_LSTM": 20,
    "VAR_HANDLE": 0, "CALL_ONCE": 0, "HASHTABLE": 0,
}  # fmt: skip
_CONVERSIONS = frozenset({"QUANTIZE", "DEQUANTIZE", "CAST"})
_NAMES = {"tflite": "TensorFlow Lite", "litert": "LiteRT", "tflm": "TFLM"}
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


@dataclass(frozen=True, slots=True)
class IncompatibleOperator:
    """Why a runtime does not run one operator.

    Attributes:
        kind: ``missing`` (no such operator), ``version``, ``dtype`` (the kernel refuses),
            ``wrong`` (it computes something else and says nothing), or ``unknown`` (no
            release that old was measured, or this use was not).
        says: one clause naming operator, version, dtype, first release that has it.
        remedy: converter option or rewrite; empty where none is known.
    """

    op: Op
    kind: str
    says: str
    remedy: str = ""


def kernel_signature(op: Op, facts: Facts) -> str:
    """Return the dtypes that select an operator's kernel, such as ``float32+int8``."""
    inputs, outputs = facts.feeds(op), facts.yields(op)
    slot = _DATA_INPUT.get(op.name, 0)
    data = inputs[slot] if slot < len(inputs) else None
    if data is None:
        return ""
    if op.name in _CONVERSIONS and outputs:
        return f"{data.dtype}>{outputs[0].dtype}"
    slot = _WEIGHTS_INPUT.get(op.name, -1)
    weights = inputs[slot] if 0 <= slot < len(inputs) else None
    if weights is None or weights.dtype == data.dtype:
        use = data.dtype
    else:
        use = f"{data.dtype}+{weights.dtype}"
    variant = _variant(op, data, weights)
    return f"{use}/{variant}" if variant else use


def _variant(op: Op, data: Tensor, weights: Tensor | None) -> str:
    """Return what besides dtypes selects a kernel that releases have or lack."""
    if weights is None or not weights.shape or not data.shape:
        return ""
    if op.name == "FULLY_CONNECTED":
        scales = weights.quantization.scales if weights.quantization else ()
        return "per-channel" if len(scales) > 1 else ""
    if op.name == "CONV_2D" and data.shape[-1] != weights.shape[-1]:
        return "grouped"
    dilated = op.options.get("dilation_w", 1) != 1 or op.options.get("dilation_h", 1) != 1
    return "dilated" if op.name == "DEPTHWISE_CONV_2D" and dilated else ""


@dataclass(frozen=True, slots=True)
class _Use:
    """One way in which a model uses an operator: what a runtime takes or refuses.

    Attributes:
        op: the first operator of the model used in this way.
        signature: see ``kernel_signature``.
        sparse: whether an input is stored sparse.
    """

    op: Op
    signature: str
    sparse: bool = False


@per_facts
def kernel_signatures(facts: Facts) -> Mapping[tuple[int, int], str]:
    """Return ``kernel_signature`` of every operator by (subgraph, index)."""
    return {(op.subgraph, op.index): kernel_signature(op, facts) for op in facts.ops}


@per_facts
def _uses(facts: Facts) -> tuple[_Use, ...]:
    """Return the distinct uses in a model; of thousands of operators there are a few dozen."""
    found: dict[tuple[int, str, int, str, bool, int], _Use] = {}
    signatures = kernel_signatures(facts)
    for op in facts.ops:
        signature = signatures[op.subgraph, op.index]
        sparse = any(tensor is not None and tensor.sparse for tensor in facts.feeds(op))
        malformed = op.index if len(op.inputs) < _LEAST_INPUTS.get(op.name, 1) else -1
        key = (op.code, op.name, op.version, signature, sparse, malformed)
        if key not in found:
            found[key] = _Use(op, signature, sparse)
    return tuple(found.values())


def incompatible_operators(
    facts: Facts, runtime: CarriedRuntime, accelerated: frozenset[str] = frozenset()
) -> list[IncompatibleOperator]:
    """Return the operators that ``runtime`` does not run, each once a reason.

    Args:
        accelerated: custom operators that a delegate of the profile executes, such as
            ``ethos-u``.
    """
    found: dict[tuple[str, int, str], IncompatibleOperator] = {}
    uses = list(_uses(facts))
    if runtime.name != "tflm":  # the others resolve every listed code, also an unused one
        used = {
            (use.op.code, use.op.name if use.op.custom else "", use.op.version) for use in uses
        }
        uses += [
            _Use(_unused(code, version), "")
            for code, custom, version in facts.opcodes
            if (code, custom, version) not in used and custom == ""
        ]
    for use in uses:
        refused = (
            _version_refusal(use, runtime)
            if use.op.index < 0
            else _refusal(use, runtime, accelerated)
        )
        if refused:
            found.setdefault((use.op.name, use.op.version, refused.says), refused)
    for refused in _misfits(facts, runtime):
        found.setdefault((refused.op.name, refused.op.version, refused.says), refused)
    return list(found.values())


def _misfits(facts: Facts, runtime: CarriedRuntime) -> Iterator[IncompatibleOperator]:
    """Yield operators with quantization that does not fit its tensor.

    TensorFlow Lite and LiteRT load no such file. TFLM looks at the weights alone, and there
    takes one zero point for all scales.
    """
    for op in facts.ops:
        kernel = inputs_of(op.name).kernel
        tensors = [*enumerate(facts.feeds(op)), *((-1, tensor) for tensor in facts.yields(op))]
        for slot, tensor in tensors:
            numbers = tensor.quantization if tensor else None
            if numbers is None or not numbers.misfit:
                continue
            if runtime.name == "tflm" and (slot != kernel or len(numbers.zero_points) == 1):
                continue
            says = f"{op.name} at {tensor}: {numbers.misfit}, which {_spelled(runtime)} refuses"
            yield IncompatibleOperator(op, "dtype", says, "convert it again")


def _unused(code: int, version: int) -> Op:
    from edgepack.tflite.operators import operator_name

    return Op(index=-1, subgraph=0, name=operator_name(code), code=code, version=version,
              inputs=(), outputs=(), intermediates=(), options={}, macs=0)  # fmt: skip


def _refusal(
    use: _Use, runtime: CarriedRuntime, accelerated: frozenset[str]
) -> IncompatibleOperator | None:
    op = use.op
    if op.custom:
        if op.name in accelerated or op.name in CUSTOM_OPS[runtime.name]:
            return None
        says = f"custom operator {op.name} is not in {_spelled(runtime)}"
        return IncompatibleOperator(op, "missing", says, remedy(op, "", runtime.name))
    if runtime.ops and op.name not in runtime.ops:
        says = (
            f"{op.name} is not among the {len(runtime.ops)} operators this build was made with"
        )
        return IncompatibleOperator(op, "missing", says, f"add {op.name} to the build")
    least = _LEAST_INPUTS.get(op.name, 1)
    if len(op.inputs) < least:
        says = f"operator {op.index}, {op.name}, has {len(op.inputs)} of {least} inputs"
        return IncompatibleOperator(
            op, "dtype", says, "the file is malformed: convert it again"
        )
    if runtime.name == "tflm" and use.sparse:
        says = f"{op.name} has sparse weights, which TFLM reads as if they were dense"
        return IncompatibleOperator(
            op, "wrong", says, "convert without Optimize.EXPERIMENTAL_SPARSITY"
        )
    return _version_refusal(use, runtime) or _kernel_refusal(use, runtime)


def _version_refusal(use: _Use, runtime: CarriedRuntime) -> IncompatibleOperator | None:
    op = use.op
    release = measured_release(runtime.name, runtime.version)
    if release is None:
        oldest = table("versions")["releases"][runtime.name][0]
        says = f"{_spelled(runtime)} is older than {oldest}, the oldest release measured"
        return IncompatibleOperator(op, "unknown", says)
    highest = runtime.op_versions.get(op.name)
    if highest is None:
        highest = highest_version(op.name, runtime.name, release)
    wanted = 1 if runtime.name == "tflm" else op.version  # TFLM looks at no version
    if 1 <= wanted <= highest:
        return None
    first = first_release(op.name, wanted, runtime.name)
    since = f"first in {_NAMES[runtime.name]} {first}" if first else _elsewhere(op, runtime)
    if highest == 0:
        says = f"{op.name} version {op.version} is not in {_spelled(runtime)} at all; {since}"
        return IncompatibleOperator(
            op, "missing", says, remedy(op, use.signature, runtime.name)
        )
    says = (
        f"{op.name} version {op.version} is newer than {_spelled(runtime)}, "
        f"which takes up to {highest}; {since}"
    )
    return IncompatibleOperator(op, "version", says, remedy(op, use.signature, runtime.name))


def _elsewhere(op: Op, runtime: CarriedRuntime) -> str:
    for line in ("tflite", "litert"):
        first = first_release(op.name, op.version, line)
        if line != runtime.name and first:
            return f"no measured release of this line has it, {_NAMES[line]} {first} does"
    return "no measured release has it"


def _kernel_refusal(use: _Use, runtime: CarriedRuntime) -> IncompatibleOperator | None:
    op, signature = use.op, use.signature
    release = measured_release(runtime.name, runtime.version)
    if release is None or not signature:
        return None
    status = kernel_status(op.name, signature, op.version, runtime.name, release)
    if status == "ok":
        return None
    if status is None:
        if runtime.name != "tflm":
            return None  # the version vouches for the dtypes; TFLM has no versions
        says = f"whether TFLM computes {op.name} in {signature} was not measured"
        return IncompatibleOperator(
            op, "unknown", says, "run it on the device, or name a release that was measured"
        )
    first = first_correct_release(op.name, signature, op.version, runtime.name)
    name = _NAMES[runtime.name]
    if status == "wrong":
        since = f"right from {name} {first} on" if first else f"by every {name} measured"
        says = (
            f"{op.name} in {signature} is computed silently wrong by {_spelled(runtime)};"
            f" {since}"
        )
        return IncompatibleOperator(op, "wrong", says, remedy(op, signature, runtime.name))
    since = f"first in {name} {first}" if first else f"no measured {name} has one"
    says = (
        f"{op.name} version {op.version} in {signature} has no kernel in {_spelled(runtime)};"
        f" {since}"
    )
    return IncompatibleOperator(op, "dtype", says, remedy(op, signature, runtime.name))


def _spelled(runtime: CarriedRuntime) -> str:
    return f"{_NAMES[runtime.name]} {runtime.version}"


def remedy(op: Op, signature: str, line: str) -> str:
    """Return what to change, for an operator that a runtime line does not run as it is."""
    if op.custom:
        return _for_custom(op)
    if op.name == "FULLY_CONNECTED" and signature.endswith("/per-channel"):
        return _PER_TENSOR_DENSE
    if line == "tflm":
        hybrid = "+" in signature
        return _for_tflm(signature) if hybrid else _WITHOUT.get(op.name) or _for_tflm(signature)
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


def _for_tflm(signature: str) -> str:
    data, _, weights = signature.partition("+")
    if data == "float32" and weights:
        return _FULL_INT8
    if "uint8" in signature:
        return (
            "convert the float model again to int8 "
            "(converter.inference_input_type = tf.int8); TFLM has few uint8 kernels left"
        )
    if data in ("int16", "int32", "int64", "bool"):
        return "compute this part in int8 or float32, or outside the model"
    return "rewrite it with an operator that TFLM has"

"""Whether the runtime a device carries really runs each operator of a model.

Three questions, each answered from what the releases were measured to do (``truth``):
is there such an operator, does the release take its version, and does its kernel compute
these dtypes — right, wrong or not at all. Old releases compute per-channel
FULLY_CONNECTED silently wrong; that is a refusal here.
"""

from __future__ import annotations

from dataclasses import dataclass

from edgepack.compat import measured_support as truth
from edgepack.compat.remedies import remedy
from edgepack.profiles.profile import CarriedRuntime
from edgepack.tflite.facts import Facts, Op
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


@dataclass(frozen=True, slots=True)
class Trouble:
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


def use_of(op: Op, facts: Facts) -> str:
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


def troubles(
    facts: Facts, runtime: CarriedRuntime, accelerated: frozenset[str] = frozenset()
) -> list[Trouble]:
    """Return why ``runtime`` does not run the model; empty where it does.

    Args:
        accelerated: custom operators that a delegate of the profile executes, such as
            ``ethos-u``.
    """
    found: dict[tuple[str, int, str], Trouble] = {}
    for op in facts.ops:
        trouble = _trouble(op, facts, runtime, accelerated)
        if trouble:
            found.setdefault((op.name, op.version, trouble.says), trouble)
    used = {(op.code, op.name if op.custom else "", op.version) for op in facts.ops}
    # TensorFlow Lite resolves every listed code, also one that no operator uses
    if runtime.name != "tflm":
        for listed in facts.opcodes:
            if listed not in used and listed[1] == "":
                idle = _idle(*listed)
                trouble = _version_trouble(idle, "", runtime)
                if trouble:
                    found.setdefault((idle.name, idle.version, trouble.says), trouble)
    return list(found.values())


def _idle(code: int, _: str, version: int) -> Op:
    from edgepack.tflite.operators import operator_name

    return Op(index=-1, subgraph=0, name=operator_name(code), code=code, version=version,
              inputs=(), outputs=(), intermediates=(), options={}, macs=0)  # fmt: skip


def _trouble(
    op: Op, facts: Facts, runtime: CarriedRuntime, accelerated: frozenset[str]
) -> Trouble | None:
    if op.custom:
        if op.name in accelerated or op.name in CUSTOM_OPS[runtime.name]:
            return None
        says = f"custom operator {op.name} is not in {_spelled(runtime)}"
        return Trouble(op, "missing", says, remedy(op, "", runtime.name))
    if runtime.ops and op.name not in runtime.ops:
        says = (
            f"{op.name} is not among the {len(runtime.ops)} operators this build was made with"
        )
        return Trouble(op, "missing", says, f"add {op.name} to the build")
    least = _LEAST_INPUTS.get(op.name, 1)
    if len(op.inputs) < least:
        says = f"operator {op.index}, {op.name}, has {len(op.inputs)} of {least} inputs"
        return Trouble(op, "dtype", says, "the file is malformed: convert it again")
    use = use_of(op, facts)
    packed = any(tensor is not None and tensor.sparse for tensor in facts.feeds(op))
    if runtime.name == "tflm" and packed:
        says = f"{op.name} has sparse weights, which TFLM reads as if they were dense"
        return Trouble(op, "wrong", says, "convert without Optimize.EXPERIMENTAL_SPARSITY")
    return _version_trouble(op, use, runtime) or _kernel_trouble(op, use, runtime)


def _version_trouble(op: Op, use: str, runtime: CarriedRuntime) -> Trouble | None:
    release = truth.measured(runtime.name, runtime.version)
    if release is None:
        oldest = truth.table("versions")["releases"][runtime.name][0]
        says = f"{_spelled(runtime)} is older than {oldest}, the oldest release measured"
        return Trouble(op, "unknown", says)
    highest = runtime.op_versions.get(op.name)
    if highest is None:
        highest = truth.highest_version(op.name, runtime.name, release)
    wanted = 1 if runtime.name == "tflm" else op.version  # TFLM looks at no version
    if 1 <= wanted <= highest:
        return None
    first = truth.first_release(op.name, wanted, runtime.name)
    since = f"first in {_NAMES[runtime.name]} {first}" if first else _elsewhere(op, runtime)
    if highest == 0:
        says = f"{op.name} version {op.version} is not in {_spelled(runtime)} at all; {since}"
        return Trouble(op, "missing", says, remedy(op, use, runtime.name))
    says = (
        f"{op.name} version {op.version} is newer than {_spelled(runtime)}, "
        f"which takes up to {highest}; {since}"
    )
    return Trouble(op, "version", says, remedy(op, use, runtime.name))


def _elsewhere(op: Op, runtime: CarriedRuntime) -> str:
    for line in ("tflite", "litert"):
        first = truth.first_release(op.name, op.version, line)
        if line != runtime.name and first:
            return f"no measured release of this line has it, {_NAMES[line]} {first} does"
    return "no measured release has it"


def _kernel_trouble(op: Op, use: str, runtime: CarriedRuntime) -> Trouble | None:
    release = truth.measured(runtime.name, runtime.version)
    if release is None or not use:
        return None
    status = truth.kernel_status(op.name, use, op.version, runtime.name, release)
    if status == "ok":
        return None
    if status is None:
        if runtime.name != "tflm":
            return None  # the version vouches for the dtypes; TFLM has no versions
        says = f"whether TFLM computes {op.name} in {use} was not measured"
        return Trouble(op, "unknown", says, "run it: edgepack validate does")
    first = truth.first_right(op.name, use, op.version, runtime.name)
    name = _NAMES[runtime.name]
    if status == "wrong":
        since = f"right from {name} {first} on" if first else f"by every {name} measured"
        says = f"{op.name} in {use} is computed silently wrong by {_spelled(runtime)}; {since}"
        return Trouble(op, "wrong", says, remedy(op, use, runtime.name))
    since = f"first in {name} {first}" if first else f"no measured {name} has one"
    says = (
        f"{op.name} version {op.version} in {use} has no kernel in {_spelled(runtime)}; {since}"
    )
    return Trouble(op, "dtype", says, remedy(op, use, runtime.name))


def _spelled(runtime: CarriedRuntime) -> str:
    return f"{_NAMES[runtime.name]} {runtime.version}"

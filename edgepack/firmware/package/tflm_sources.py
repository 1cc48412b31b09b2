"""The TFLM bundle: model array, op resolver, arena and self-test, path -> content."""

from __future__ import annotations

from collections.abc import Iterator

from edgepack.firmware.compiler import c99
from edgepack.firmware.compiler.model import UnsupportedModel
from edgepack.firmware.goldens import GoldenVectors, golden_header, shipped_vectors
from edgepack.firmware.package import layouts
from edgepack.measurements.firmware_figures import TflmArena
from edgepack.tflite.facts import Facts
from edgepack.tflite.flatbuffer import read
from edgepack.tflite.operators import CUSTOM, operator_name

# What MicroMutableOpResolver has (tensorflow/lite/micro/micro_mutable_op_resolver.h).
_OPERATORS = """
ABS ADD ADD_N ARG_MAX ARG_MIN AVERAGE_POOL_2D BATCH_MATMUL BATCH_TO_SPACE_ND BROADCAST_ARGS
BROADCAST_TO CAST CEIL CONCATENATION CONV_2D COS CUMSUM DEPTH_TO_SPACE DEPTHWISE_CONV_2D
DEQUANTIZE DIV ELU EQUAL EXP EXPAND_DIMS FILL FLOOR FLOOR_DIV FLOOR_MOD FULLY_CONNECTED GATHER
GATHER_ND GREATER GREATER_EQUAL HARD_SWISH L2_NORMALIZATION L2_POOL_2D LEAKY_RELU LESS
LESS_EQUAL LOG LOG_SOFTMAX LOGICAL_AND LOGICAL_NOT LOGICAL_OR LOGISTIC MAX_POOL_2D MAXIMUM MEAN
MINIMUM MIRROR_PAD MUL NEG NOT_EQUAL PACK PAD PADV2 PRELU QUANTIZE REDUCE_MAX RELU RELU6
RESHAPE RESIZE_BILINEAR RESIZE_NEAREST_NEIGHBOR ROUND RSQRT SELECT_V2 SHAPE SIN SLICE SOFTMAX
SPACE_TO_BATCH_ND SPACE_TO_DEPTH SPLIT SPLIT_V SQRT SQUARE SQUARED_DIFFERENCE SQUEEZE
STRIDED_SLICE SUB SUM SVDF TANH TRANSPOSE TRANSPOSE_CONV UNPACK ZEROS_LIKE
"""
RESOLVABLE = frozenset(_OPERATORS.split())
_METHODS = {  # whose method is not named by the rule
    "BATCH_MATMUL": "AddBatchMatMul",
    "CUMSUM": "AddCumSum",
    "ETHOS_U": "AddEthosU",
    "PADV2": "AddPadV2",
    "UNIDIRECTIONAL_SEQUENCE_LSTM": "AddUnidirectionalSequenceLSTM",
}
ETHOS_U = "ethos-u"  # the custom operator that Vela makes
_PER_LINE = 12


def tflm_bundle(
    model: bytes,
    name: str,
    goldens: GoldenVectors,
    arena: TflmArena,
) -> dict[str, bytes]:
    """Return array, resolver, configuration, self-test and every layout of a model.

    Raises:
        UnsupportedModel: an operator that TFLM's resolver does not have.
        UsageError: ``name`` is not a C identifier.
    """
    c99.check_name(name)
    facts, vectors = read(model), shipped_vectors(goldens)
    names = operator_names(facts)
    says = f"{'estimated' if arena.estimated else 'emulated'}: {arena.basis}."
    table = {
        "Arena": f"{arena.needed_bytes:,} B, {says}",
        "Model": f"{len(model):,} B of flash; the interpreter besides",
        "Operators": ", ".join(names),
    }
    values = {
        **layouts.name_values(name),
        **layouts.model_ends(facts, name),
        "model_bytes": str(len(model)),
        "op_count": str(len(names)),
        "resolver_methods": [resolver_method(op) for op in names],
        "arena_bytes": str(arena.needed_bytes),
        "arena_says": says,
        "facts": layouts.facts(facts, table),
        "paragraph": f"{name} for TensorFlow Lite Micro, made by edgepack",
    }
    files = {
        f"src/{name}_{part}": layouts.fill(f"tflm/{part}", values)
        for part in ("model_data.h", "resolver.h", "config.h", "self_test.h", "self_test.cc")
    }
    files |= {
        f"src/{name}_model_data.cc": "\n".join(_model_array(model, name)).encode(),
        f"src/{name}_golden.h": golden_header(vectors, facts, name).encode(),
        "test/main.cc": layouts.fill("tflm/main.cc", values),
        f"config/tflite/{name}.tflite": model,
    }
    return files | layouts.packaging(values, cpp=True)


def operator_names(facts: Facts) -> tuple[str, ...]:
    """Return the operators that the file lists, in order, each once; Ethos-U's is ETHOS_U.

    Raises:
        UnsupportedModel: another custom operator.
    """
    names = set()
    for code, custom, _ in facts.opcodes:
        if code == CUSTOM and custom != ETHOS_U:
            raise UnsupportedModel(f"custom operator '{custom}' is none of TFLM's")
        names.add("ETHOS_U" if code == CUSTOM else operator_name(code))
    return tuple(sorted(names))


def resolver_method(op: str) -> str:
    """Return ``AddConv2D`` for ``CONV_2D``.

    Raises:
        UnsupportedModel: TFLM's resolver has no such method.
    """
    if op in _METHODS:
        return _METHODS[op]
    if op not in RESOLVABLE:
        raise UnsupportedModel(f"op {op}: TFLM's MicroMutableOpResolver does not have it")
    return "Add" + "".join(
        part if part[0].isdigit() else part.capitalize() for part in op.split("_")
    )


def _model_array(model: bytes, name: str) -> Iterator[str]:
    yield f'#include "{name}_model_data.h"'
    yield ""
    yield f"alignas(16) const unsigned char g_{name}_model_data[] = {{"
    for at in range(0, len(model), _PER_LINE):
        yield "    " + " ".join(f"0x{b:02x}," for b in model[at : at + _PER_LINE])
    yield "};"
    yield ""

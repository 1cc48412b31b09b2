"""The TFLM bundle: model array, op resolver, arena and self-test, path -> content."""

from __future__ import annotations

from collections.abc import Iterator

from edgepack.firmware.compiler import c99
from edgepack.firmware.compiler.graph import Graph, UnsupportedModel
from edgepack.firmware.compiler.lower.shaped import float_literal
from edgepack.firmware.compiler.reading import operator_names, read
from edgepack.firmware.goldens import Goldens, golden_header, golden_name, shipped
from edgepack.firmware.package import layouts
from edgepack.firmware.tflm_arena import ArenaFigures

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
_PER_LINE = 12


def tflm_bundle(
    model: bytes,
    name: str,
    goldens: Goldens,
    arena: ArenaFigures,
    *,
    kernels: str = "builtin",
    features: tuple[str, ...] = (),
) -> dict[str, bytes]:
    """Return array, resolver, configuration, self-test and every layout of a model.

    Args:
        kernels: those of the profile's runtime; the arena has room for their scratch.
        features: of the profile's core.

    Raises:
        UnsupportedModel: an operator that TFLM's resolver does not have.
        UsageError: ``name`` is not a C identifier.
    """
    c99.check_name(name)
    graph, vectors, names = read(model), shipped(goldens), operator_names(model)
    arena_bytes, how, says = arena.needed(kernels, features)
    says = f"{how}: smallest of {arena.probes} sizes tried on a 64-bit host; {says}."
    table = {
        "Arena": f"{arena_bytes:,} B, {says}",
        "Model": f"{len(model):,} B of flash; the interpreter besides",
        "Operators": ", ".join(names),
    }
    values = {
        **layouts.named(name),
        "TAKES": _takes(graph, name),
        "COMPARES": _compares(graph, name),
        "MODEL_BYTES": str(len(model)),
        "OP_COUNT": str(len(names)),
        "ADDS": "\n".join(f"  resolver.{resolver_method(op)}();" for op in names),
        "ARENA_BYTES": str(arena_bytes),
        "ARENA_SAYS": says,
        "QUANTIZATION": "\n".join(_quantization(graph)),
        "FACTS": layouts.facts(graph, table),
        "PARAGRAPH": f"{name} for TensorFlow Lite Micro, made by edgepack",
    }
    files = {
        f"src/{name}_{part}": layouts.fill(f"tflm/{part}", values)
        for part in ("model_data.h", "resolver.h", "config.h", "self_test.h", "self_test.cc")
    }
    files |= {
        f"src/{name}_model_data.cc": "\n".join(_model_array(model, name)).encode(),
        f"src/{name}_golden.h": golden_header(vectors, graph, name).encode(),
        "test/main.cc": layouts.fill("tflm/main.cc", values),
        f"config/tflite/{name}.tflite": model,
    }
    return files | layouts.packaging(values, cpp=True)


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


def _takes(graph: Graph, name: str) -> str:
    lines = []
    for position, tensor in enumerate(graph.inputs):
        row = f"{golden_name(name, 'input', position)}[row]"
        to = f"interpreter.input({position})->data.raw"
        lines.append(f"    std::memcpy({to}, {row}, {tensor.bytes});")
    return "\n".join(lines)


def _compares(graph: Graph, name: str) -> str:
    lines = []
    for position, tensor in enumerate(graph.outputs):
        row = f"{golden_name(name, 'output', position)}[row]"
        mine = f"interpreter.output({position})->data.raw"
        lines.append(f"    wrong += std::memcmp({mine}, {row}, {tensor.bytes}) != 0;")
    return "\n".join(lines)


def _quantization(graph: Graph) -> Iterator[str]:
    for kind, tensors in (("Input", graph.inputs), ("Output", graph.outputs)):
        for position, tensor in enumerate(tensors):
            suffix = str(position) if position else ""
            yield f"constexpr int k{kind}{suffix}Size = {tensor.size};"
            if tensor.scales:
                scale = float_literal(tensor.scales[0])
                yield f"constexpr float k{kind}{suffix}Scale = {scale};"
                yield f"constexpr int k{kind}{suffix}ZeroPoint = {tensor.zero_points[0]};"


def _model_array(model: bytes, name: str) -> Iterator[str]:
    yield f'#include "{name}_model_data.h"'
    yield ""
    yield f"alignas(16) const unsigned char g_{name}_model_data[] = {{"
    for at in range(0, len(model), _PER_LINE):
        yield "    " + " ".join(f"0x{b:02x}," for b in model[at : at + _PER_LINE])
    yield "};"
    yield ""

"""A .tflite of our own converter as objects to change, and the answers it gives here."""

from __future__ import annotations

from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

_NAMES: dict[int, str] = {
    number: name
    for name, number in vars(schema.BuiltinOperator).items()
    if isinstance(number, int)
}
_FIRST_BYTES = 1024  # the builder grows from here


def parse(tflite: bytes) -> Any:
    """Return the file as a tree of schema objects."""
    return schema.ModelT.InitFromPackedBuf(tflite, 0)


def pack(model: Any) -> bytes:
    """Return the bytes of a tree of schema objects; the same tree gives the same bytes."""
    builder = flatbuffers.Builder(_FIRST_BYTES)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def operator_name(model: Any, operator: Any) -> str:
    """Return the name of an operator: ``CONV_2D`` for example, or a custom one's own."""
    code = model.operatorCodes[operator.opcodeIndex]
    custom = (code.customCode or b"").decode("utf-8", "replace")
    number = builtin_code(code)
    return custom or _NAMES.get(number, f"operator {number}")


def readers(model: Any) -> dict[int, set[tuple[str, int]]]:
    """Return who reads each tensor of the main graph: (operator name, which input)."""
    found: dict[int, set[tuple[str, int]]] = {}
    for operator in model.subgraphs[0].operators:
        for slot, index in enumerate(operator.inputs):
            found.setdefault(int(index), set()).add((operator_name(model, operator), slot))
    return found


def builtin_code(code: Any) -> int:
    """Return the number of an operator code; old files hold it in a field of one byte."""
    return max(int(code.builtinCode), int(code.deprecatedBuiltinCode))


def hold(model: Any, tensor: Any, data: NDArray[np.uint8]) -> None:
    """Give a tensor data of its own, in its old buffer unless another tensor reads that."""
    tensors = [each for graph in model.subgraphs for each in graph.tensors]
    if sum(each.buffer == tensor.buffer for each in tensors) > 1:
        model.buffers.append(schema.BufferT())
        tensor.buffer = len(model.buffers) - 1
    model.buffers[tensor.buffer].data = data


def code_of(model: Any, index: int, version: int) -> int:
    """Return the number of the operator code like ``index`` with a version."""
    like = model.operatorCodes[index]
    wanted = max(version, like.version)
    for number, code in enumerate(model.operatorCodes):
        if builtin_code(code) == builtin_code(like) and code.version == wanted:
            return number
    code = schema.OperatorCodeT()
    code.builtinCode, code.deprecatedBuiltinCode = like.builtinCode, like.deprecatedBuiltinCode
    code.version = wanted
    model.operatorCodes.append(code)
    return len(model.operatorCodes) - 1


def outputs(tflite: bytes, rows: NDArray[Any]) -> NDArray[np.float64]:
    """Return what the file answers to ``(N, *input_shape)`` rows, dequantized, ``(N, -1)``.

    Builtin kernels on one thread: with another number, or with a delegate, the last digits
    may differ from run to run.
    """
    from ai_edge_litert import interpreter as litert

    resolver = litert.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    runner = litert.Interpreter(
        model_content=tflite, num_threads=1, experimental_op_resolver_type=resolver
    )
    runner.allocate_tensors()
    (source,), (target,) = runner.get_input_details(), runner.get_output_details()
    scale, zero = source["quantization"]
    low, high = np.iinfo(source["dtype"]).min, np.iinfo(source["dtype"]).max
    found = []
    for row in rows:
        codes = np.clip(np.rint(np.asarray(row, np.float64) / scale) + zero, low, high)
        runner.set_tensor(source["index"], codes.astype(source["dtype"])[np.newaxis])
        runner.invoke()
        found.append(runner.get_tensor(target["index"]).reshape(-1).astype(np.float64))
    step, middle = target["quantization"]
    answers: NDArray[np.float64] = (np.stack(found) - middle) * step
    return answers

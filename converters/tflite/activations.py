"""Activations of an int8 file as the one operator that every runtime has for them.

The converter has no int8 form of ELU, so a model is given to it as ``relu(x) + exp(min(x, 0))
- 1`` (``graph.activations``). Few runtimes have EXP in int8, TensorFlow Lite Micro never; ELU
they all have, as a table of 256 outputs. The ranges that calibration or training gave to the
input and to the sum are what that table is made of, so nothing is measured anew.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from converters.tflite.tflite_edit import builtin_code, operator_name, pack, parse

_NEAR = 0.01  # of a constant: what its own int8 rounding and the converter's folding leave


def with_elu(tflite: bytes) -> bytes:
    """Return the file with ELU where it is computed through EXP; the same bytes if nowhere.

    ``alpha (exp(u) - 1)`` of ``u = min(x, 0)`` becomes ``alpha elu(u)``, and its sum with
    ``relu(x)`` becomes ``elu(x)`` where alpha is 1.
    """
    model = parse(tflite)
    graph = _Graph(model)
    changed = False
    for exponential in [op for op in graph.operators if graph.name(op) == "EXP"]:
        changed |= graph.through_elu(exponential)
    if not changed:
        return tflite
    _drop_unused(model)
    return pack(model)


class _Graph:
    """The main graph of a file while its operators are replaced."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.graph = model.subgraphs[0]
        self.operators: list[Any] = self.graph.operators

    def name(self, operator: Any) -> str:
        return operator_name(self.model, operator)

    def maker(self, tensor: int) -> Any:
        """Return the operator that writes ``tensor``; None for an input or a constant."""
        return next((op for op in self.operators if tensor in list(op.outputs)), None)

    def reader(self, tensor: int) -> Any:
        """Return the only operator that reads ``tensor``, None if several or the user do."""
        readers = [op for op in self.operators if tensor in list(op.inputs)]
        return readers[0] if len(readers) == 1 and tensor not in self.graph.outputs else None

    def constant(self, index: int) -> float | None:
        """Return the one number that a constant int8 tensor holds."""
        tensor = self.graph.tensors[index]
        data = self.model.buffers[tensor.buffer].data
        if data is None or len(data) != 1 or tensor.type != schema.TensorType.INT8:
            return None
        code = int(np.frombuffer(bytes(data), np.int8)[0])
        kept = tensor.quantization
        return float((code - int(kept.zeroPoint[0])) * float(kept.scale[0]))

    def by_number(self, operator: Any, kind: str) -> tuple[float, int] | None:
        """Return (number, tensor) of an operator of ``kind`` on one of each."""
        if operator is None or self.name(operator) != kind or len(operator.inputs) != 2:
            return None
        for here, there in ((0, 1), (1, 0)):
            value = self.constant(int(operator.inputs[here]))
            if value is not None and not _fused(operator):
                return value, int(operator.inputs[there])
        return None

    def below_zero(self, tensor: int) -> tuple[int, Any] | None:
        """Return (x, the operator of relu(x)) where ``tensor`` is ``x - relu(x)``."""
        difference = self.maker(tensor)
        if difference is None or self.name(difference) != "SUB" or _fused(difference):
            return None
        x, over = (int(index) for index in difference.inputs)
        rectified = self.maker(over)
        if rectified is None or self.name(rectified) != "RELU" or rectified.inputs[0] != x:
            return None
        return x, rectified

    def through_elu(self, exponential: Any) -> bool:
        """Replace ``exponential`` and what makes ELU of it; tell whether it was that."""
        under, grown = int(exponential.inputs[0]), int(exponential.outputs[0])
        found = self.below_zero(under)
        after = self.reader(grown)
        scaled = self.by_number(after, "MUL")
        alpha = scaled[0] if scaled else 1.0
        less = self.reader(int(after.outputs[0])) if scaled else after
        moved = self.by_number(less, "ADD")
        if found is None or moved is None or abs(moved[0] + alpha) > _NEAR * abs(alpha):
            return False
        x, rectified = found
        result = int(less.outputs[0])
        self.operators.remove(less)
        exponential.opcodeIndex = _code(self.model, schema.BuiltinOperator.ELU)
        exponential.builtinOptionsType, exponential.builtinOptions = 0, None
        if scaled:
            self._scale(grown, 1 / 255, 127)  # from -1 to 0
            after.outputs = [result]
            return True
        exponential.outputs = [result]
        total = self.reader(result)
        joins = total is not None and self.name(total) == "ADD" and not _fused(total)
        if joins and set(map(int, total.inputs)) == {result, int(rectified.outputs[0])}:
            exponential.inputs, exponential.outputs = [x], total.outputs
            self.operators.remove(total)
            self._remove_unread(self.maker(under))
            self._remove_unread(rectified)
        return True

    def _scale(self, tensor: int, scale: float, zero_point: int) -> None:
        kept = self.graph.tensors[tensor].quantization
        kept.scale, kept.zeroPoint = [scale], [zero_point]
        kept.min = kept.max = None

    def _remove_unread(self, operator: Any) -> None:
        read = {int(index) for op in self.operators for index in op.inputs}
        if not read & set(map(int, operator.outputs)):
            self.operators.remove(operator)


def _fused(operator: Any) -> bool:
    """Tell whether the operator carries an activation of its own."""
    return bool(getattr(operator.builtinOptions, "fusedActivationFunction", 0))


def _code(model: Any, number: int) -> int:
    """Return the index of version 1 of a builtin operator, added where it is missing."""
    for index, code in enumerate(model.operatorCodes):
        if builtin_code(code) == number and code.version == 1:
            return index
    made = schema.OperatorCodeT()
    made.builtinCode = made.deprecatedBuiltinCode = number
    made.version = 1
    model.operatorCodes.append(made)
    return len(model.operatorCodes) - 1


def _drop_unused(model: Any) -> None:
    """Take tensors and operator codes out that nothing names any more."""
    graph = model.subgraphs[0]
    used = {int(index) for end in (graph.inputs, graph.outputs) for index in end}
    for operator in graph.operators:
        used |= {int(i) for end in (operator.inputs, operator.outputs) for i in end if i >= 0}
    place = {old: new for new, old in enumerate(sorted(used))}

    def moved(indices: Any) -> list[int]:
        return [place[int(index)] if index >= 0 else -1 for index in indices]

    for operator in graph.operators:
        operator.inputs, operator.outputs = moved(operator.inputs), moved(operator.outputs)
    graph.inputs, graph.outputs = moved(graph.inputs), moved(graph.outputs)
    graph.tensors = [graph.tensors[old] for old in sorted(used)]
    for signature in model.signatureDefs or ():
        for entry in (*signature.inputs, *signature.outputs):
            if signature.subgraphIndex == 0:
                entry.tensorIndex = place[int(entry.tensorIndex)]
    every = [operator for each in model.subgraphs for operator in each.operators]
    codes = sorted({int(operator.opcodeIndex) for operator in every})
    for operator in every:
        operator.opcodeIndex = codes.index(int(operator.opcodeIndex))
    model.operatorCodes = [model.operatorCodes[index] for index in codes]

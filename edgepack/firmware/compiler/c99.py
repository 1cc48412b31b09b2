"""A quantized .tflite as self-contained C99: no interpreter, no heap, no flatbuffer.

The model's source holds the constants, a static arena and one call a layer; the kernels are
headers of static functions, so that two models can live in one firmware.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib import resources

import numpy as np

from edgepack.errors import UsageError
from edgepack.firmware.compiler.lower.kernel_call import Array, KernelCall, float_literal
from edgepack.firmware.compiler.lower.program import Program, lower
from edgepack.tflite.flatbuffer import read
from edgepack.tflite.tensors import Tensor

_LINE = 96
_NEEDS = {"conv": ("dot",), "dense": ("dot",), "lstm": ("dot",)}
_CTYPES = {"int8": "int8_t", "uint8": "uint8_t", "float32": "float"}
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,47}")


def compile_model(model: bytes) -> Program:
    """Return the program of a .tflite: steps, arena and constants.

    Raises:
        InputError: the file is damaged.
        UnsupportedModel: an operator, dtype or shape the compiler does not take.
    """
    return lower(read(model))


def sources(program: Program, name: str) -> dict[str, bytes]:
    """Return file name -> content: the model, its weights and the kernels it calls.

    Raises:
        UsageError: ``name`` is not a C identifier.
    """
    check_name(name)
    files = {
        f"{name}.h": _header(program, name),
        f"{name}.c": _source(program, name),
        f"{name}_weights.h": _weights(program, name),
    }
    folder = resources.files("edgepack.firmware.compiler") / "kernels"
    for kernel in _kernels(program):
        files[f"ep_{kernel}.h"] = (folder / f"ep_{kernel}.h").read_text()
    return {path: text.encode() for path, text in files.items()}


def check_name(name: str) -> None:
    """Raise UsageError unless ``name`` may begin C and C++ identifiers."""
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"wanted a C identifier of at most 48 characters as model name. Received: {name!r}"
        )


def constants(program: Program) -> tuple[Array, ...]:
    """Return every constant of the program."""
    return tuple(a for step in program.steps for a in step.arrays) + tuple(
        _inlined(step, position)
        for step in program.steps
        for position, tensor in enumerate(step.op.inputs)
        if f"{{in{position}}}" in step.call and tensor is not None and tensor.constant
    )


def _inlined(step: KernelCall, position: int) -> Array:
    """Return a constant input that the kernel reads as it is."""
    data = step.op.constant(position).reshape(-1)
    return Array(f"{step.name}_in{position}", f"{data.dtype}_t", data)


def _kernels(program: Program) -> tuple[str, ...]:
    wanted = {step.kernel for step in program.steps if step.kernel}
    below = {n for kernel in wanted for n in _NEEDS.get(kernel, ())}
    return tuple(sorted(wanted | below | {"base"}))


def _numbered(name: str, position: int) -> str:
    return name if position == 0 else f"{name}_{position}"


def accessor(name: str, kind: str, position: int) -> str:
    """Return the C function that gives the model's input or output of that number."""
    return _numbered(f"{name}_{kind}", position)


def _border(program: Program) -> Iterator[tuple[str, int, Tensor]]:
    for kind, tensors in (("input", program.facts.inputs), ("output", program.facts.outputs)):
        for position, tensor in enumerate(tensors):
            yield kind, position, tensor


def _header(program: Program, name: str) -> str:
    upper = name.upper()
    lines = [
        f"/* {name}: a neural network as C99, made by edgepack from a quantized .tflite.",
        " *",
        f" * Write to {name}_input(), call {name}_invoke(), read from {name}_output().",
        " * All lie in one static arena: the input is used up, the output holds until the",
        " * next call. Not reentrant; no heap, no interpreter.",
        " */",
        f"#ifndef {upper}_H",
        f"#define {upper}_H",
        "",
        "#include <stdint.h>",
        "",
        "#ifdef __cplusplus",
        'extern "C" {',
        "#endif",
        "",
        f"#define {upper}_ARENA_BYTES {program.arena_bytes}",
        f"#define {upper}_CONSTANT_BYTES {sum(a.bytes for a in constants(program))}",
    ]
    for kind, position, tensor in _border(program):
        prefix = _numbered(f"{upper}_{kind.upper()}", position)
        shape = "x".join(map(str, tensor.shape))
        lines += ["", f"/* {kind} '{_plain(tensor.label)}': {tensor.dtype}, {shape} */"]
        lines += [f"#define {prefix}_SIZE {tensor.elements}"]
        if tensor.scales:
            lines += [
                f"#define {prefix}_SCALE {float_literal(tensor.scales[0])}",
                f"#define {prefix}_ZERO_POINT ({tensor.zero_points[0]})",
            ]
    lines += [""]
    for kind, position, tensor in _border(program):
        const = "const " if kind == "output" else ""
        lines += [
            f"{const}{_CTYPES[tensor.dtype]} *{_numbered(f'{name}_{kind}', position)}(void);"
        ]
    lines += [f"void {name}_invoke(void);", f"void {name}_reset(void);"]
    lines += ["", "#ifdef __cplusplus", "}", "#endif", "", "#endif", ""]
    return "\n".join(lines)


def _plain(text: str) -> str:
    """Return a name from outside as it may stand in a C comment."""
    return (
        re.sub(r"[^A-Za-z0-9_.:;/ -]", "_", text).replace("*/", "*_").replace("/*", "_*")[:80]
    )


def _source(program: Program, name: str) -> str:
    arena = -(-program.arena_bytes // 4)
    lines = [f'#include "{name}.h"', "", *(f'#include "ep_{k}.h"' for k in _kernels(program))]
    lines += [f'#include "{name}_weights.h"', ""]
    lines += [
        f"static ep_word arena[{arena}];",
        "",
        "#define AT(bytes) ((int8_t *)arena + (bytes))",
    ]
    for step in program.steps:
        if step.struct:
            lines += ["", f"static const {step.struct} {step.name} = {{"]
            lines += [f"    .{field} = {value}," for field, value in step.fields]
            lines += ["};"]
    for kind, position, tensor in _border(program):
        const = "const " if kind == "output" else ""
        ctype = _CTYPES[tensor.dtype]
        offset = program.offsets[tensor.index]
        function = accessor(name, kind, position)
        lines += ["", f"{const}{ctype} *{function}(void)", "{"]
        lines += [f"    return ({const}{ctype} *)(void *)AT({offset});", "}"]
    lines += ["", f"void {name}_reset(void)", "{"]
    for tensor in program.states:
        value = tensor.zero_points[0] if tensor.zero_points else 0
        offset = program.offsets[tensor.index]
        lines += [f"    memset(AT({offset}), {value}, {tensor.nbytes});"]
    lines += ["}", "", f"void {name}_invoke(void)", "{"]
    for number, step in enumerate(program.steps):
        lines += [f"    /* {step.op.index} {step.op.name} {_shapes(step)} */"]
        lines += [f"    {line}" for line in _call(program, number, step)]
    lines += ["}", ""]
    return "\n".join(lines)


def _shapes(step: KernelCall) -> str:
    source, target = step.op.reads[0], step.op.output
    return f"{'x'.join(map(str, source.shape))} -> {'x'.join(map(str, target.shape))}"


def _call(program: Program, number: int, step: KernelCall) -> Iterator[str]:
    """Yield the statements of one step, pointers filled in."""
    names = {"out0": _pointer(program, step.op.output)}
    for position, tensor in enumerate(step.op.inputs):
        if tensor is None or f"{{in{position}}}" not in step.call:
            continue
        names[f"in{position}"] = (
            f"{step.name}_in{position}" if tensor.constant else _pointer(program, tensor)
        )
    if number in program.scratch:
        names["scratch"] = f"(ep_word *)(void *)AT({program.scratch[number]})"
    for line in step.call.splitlines():
        yield line.format(**names)


def _pointer(program: Program, tensor: Tensor) -> str:
    cast = {"float32": "(ep_float *)(void *)", "int16": "(ep_half *)(void *)"}
    return f"{cast.get(tensor.dtype, '')}AT({program.offsets[tensor.index]})"


def _weights(program: Program, name: str) -> str:
    upper = name.upper()
    lines = [f"/* Constants of {name}. */", f"#ifndef {upper}_WEIGHTS_H"]
    lines += [f"#define {upper}_WEIGHTS_H", "", '#include "ep_base.h"']
    for array in constants(program):
        lines += ["", f"static const {array.ctype} {array.name}[{array.values.size}] = {{"]
        lines += [*_rows(array), "};"]
    lines += ["", "#endif", ""]
    return "\n".join(lines)


def _rows(array: Array) -> Iterator[str]:
    """Yield the values in lines that fit a page."""
    flat = array.values.reshape(-1)
    words = array.ctype in {"ep_word", "uint32_t"}
    if flat.dtype == np.int32:  # INT32_MIN has no decimal literal in C
        texts = [f"{v}" if v > -(1 << 31) else "INT32_MIN" for v in flat.tolist()]
    else:
        texts = [f"0x{v:08x}u" if words else f"{v}" for v in flat.tolist()]
    line = "   "
    for text in texts:
        if len(line) + len(text) + 2 > _LINE:
            yield line
            line = "   "
        line += f" {text},"
    yield line

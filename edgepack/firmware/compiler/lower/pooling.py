"""Pooling and reductions: AVERAGE_POOL_2D, MAX_POOL_2D, MEAN and REDUCE_MAX."""

from __future__ import annotations

import math

from edgepack.firmware.compiler.lower.convolution import spatial
from edgepack.firmware.compiler.lower.kernel_call import (
    KernelCall,
    activation_range,
    batch_of_one,
    call_name,
    factor,
    quantized,
    same_quantization,
    short,
)
from edgepack.firmware.compiler.model import Node


def pool(op: Node) -> KernelCall:
    """AVERAGE_POOL_2D or MAX_POOL_2D."""
    same_quantization(op)
    kernel = int(op.options["filter_h"]), int(op.options["filter_w"])
    if min(kernel) < 1:
        op.refuse(f"window {kernel}; wanted at least 1 by 1", op.input(0))
    low, high = activation_range(op, op.output)
    channels = batch_of_one(op, op.input(0), 4)[2]
    if op.output.shape[3] != channels:
        op.refuse(f"wanted {channels} channels", op.output)
    fields = [f for f in spatial(op, kernel) if not f[0].startswith("dilation")]
    fields += [("channels", short(op, "channels", channels, op.output))]
    fields += [("low", str(low)), ("high", str(high))]
    which = "average" if op.name.startswith("AVERAGE") else "max"
    name = call_name(op)
    call = f"ep_{which}_pool(&{name}, {{in0}}, {{out0}});"
    return KernelCall(op, "pool", call, "ep_pool", tuple(fields))


def _middle(op: Node) -> tuple[int, int, int]:
    """Return a reduction's sizes before, within and after the dimensions it is over."""
    shape = op.input(0).shape
    axes = sorted({int(a) + (len(shape) if a < 0 else 0) for a in op.constant(1).reshape(-1)})
    if not axes or axes != list(range(axes[0], axes[-1] + 1)) or not 0 <= axes[-1] < len(shape):
        op.refuse(f"over dimensions {axes}; wanted neighbouring ones", op.input(0))
    outer, count = math.prod(shape[: axes[0]]), math.prod(shape[axes[0] : axes[-1] + 1])
    inner = math.prod(shape[axes[-1] + 1 :])
    if op.output.elements != outer * inner:
        op.refuse(f"wanted {outer * inner} elements", op.output)
    return outer, count, inner


def reduce_max(op: Node) -> KernelCall:
    """REDUCE_MAX over neighbouring dimensions."""
    same_quantization(op)
    outer, count, inner = _middle(op)
    return KernelCall(
        op, "pool", f"ep_reduce_max({{in0}}, {{out0}}, {outer}, {count}, {inner});"
    )


def mean(op: Node) -> KernelCall:
    """MEAN over neighbouring dimensions, such as height and width."""
    scale, zero = quantized(op, op.input(0))
    out_scale, out_zero = quantized(op, op.output)
    outer, count, inner = _middle(op)
    doubled, shift = factor(op, scale / out_scale, op.output)
    spare = min(count.bit_length() - 1, 31 + shift)
    name = call_name(op)
    fields = (
        ("outer", str(outer)),
        ("count", str(count)),
        ("inner", str(inner)),
        ("in_zero", str(zero * count)),
        ("multiplier", str((doubled // 2 << spare) // count)),
        ("shift", str(shift - spare)),
        ("zero", str(out_zero)),
    )
    return KernelCall(op, "pool", f"ep_mean(&{name}, {{in0}}, {{out0}});", "ep_average", fields)

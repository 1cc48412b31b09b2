"""The int8 model's answers to real rows: quantised in, run, dequantised out."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgepack.errors import RuntimeFailure
from edgepack.inference.protocol import ExitStatus, Job, Runtime
from edgepack.tflite.facts import Facts, Tensor

# A second an inference is slower than any model here; a floor covers start-up.
_SECONDS_A_ROW, _SECONDS_AT_LEAST = 1.0, 120.0


def quantized(x: NDArray[Any], tensor: Tensor) -> NDArray[Any]:
    """Return real rows in the tensor's own dtype: ``round(x / scale) + zero_point``, clipped.

    A float tensor takes the rows as float32.
    """
    if tensor.dtype == "float32" or tensor.quantization is None:
        return x.astype(tensor.dtype)
    scale, point = tensor.quantization.scales[0], tensor.quantization.zero_points[0]
    edges = np.iinfo(np.dtype(tensor.dtype))
    codes = np.rint(x.astype(np.float64) / scale) + point
    return np.asarray(np.clip(codes, edges.min, edges.max), dtype=tensor.dtype)


def dequantized(codes: NDArray[Any], tensor: Tensor) -> NDArray[np.float32]:
    """Return the reals that ``codes`` stand for: ``scale * (code - zero_point)``."""
    if tensor.dtype == "float32" or tensor.quantization is None:
        return codes.astype(np.float32)
    scale, point = tensor.quantization.scales[0], tensor.quantization.zero_points[0]
    return ((codes.astype(np.float64) - point) * scale).astype(np.float32)


def answers(
    runtime: Runtime, model: bytes, rows: NDArray[Any], kernels: str = "builtin"
) -> NDArray[Any]:
    """Return the model's outputs ``(N, *output_shape)`` in its own dtype.

    Args:
        rows: ``(N, *input_shape)`` in the model's input dtype.

    Raises:
        RuntimeFailure: the runtime crashed, hung, ran out of memory or refused the model.
    """
    limit = max(_SECONDS_AT_LEAST, _SECONDS_A_ROW * len(rows))
    trace = runtime.run(Job(model=model, inputs=rows, kernels=kernels, timeout_s=limit))
    if trace.status is not ExitStatus.OK or trace.outputs is None:
        raise RuntimeFailure(f"{runtime.name}: {trace.status.value}: {trace.says}")
    return trace.outputs


def scores(
    runtime: Runtime, model: bytes, facts: Facts, x: NDArray[Any]
) -> NDArray[np.float32]:
    """Return the model's real-valued outputs for real rows ``x``."""
    codes = answers(runtime, model, quantized(x, facts.inputs[0]))
    return dequantized(codes, facts.outputs[0])

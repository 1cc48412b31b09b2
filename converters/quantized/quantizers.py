"""What a layer is trained through: ranges of activations, codes of kernels, biases.

Imports TensorFlow; for ``scheme`` alone. None of these is in a model that leaves
training.
"""

from __future__ import annotations

from typing import Any

from tensorflow_model_optimization.python.core.quantization.keras import (
    quantize_config,
    quantizers,
)

from converters import keras2
from converters.weights.codebook import LIMIT, Axes

tf = keras2.tf

_SLOWEST = 0.01  # share of the newest batch in a range, once the first 100 are averaged
# A range that never opened (a dead ReLU) still needs a scale, and not too small a one: where
# bias / (input scale * kernel scale) passes 2^31 the converter coarsens the kernel's codes.
_NARROWEST = 1e-3


class RangeQuantizer(quantizers.MovingAverageQuantizer):  # type: ignore[misc]
    """Fake-quantizes to the mean range of past batches, the first counting in full.

    TFMOT's moving average starts at +-6 and moves by a thousandth a batch: a fine-tune of
    some hundred steps would end with ranges it never saw.
    """

    def __init__(self) -> None:
        super().__init__(num_bits=8, per_axis=False, symmetric=False, narrow_range=False)

    def build(self, tensor_shape: Any, name: str, layer: Any) -> dict[str, Any]:
        """Return the variables of one tensor's range."""
        zero = keras2.keras.initializers.Constant(0.0)
        count = layer.add_weight(f"{name}_count", initializer=zero, trainable=False)
        limits: dict[str, Any] = super().build(tensor_shape, name, layer)
        return limits | {"count": count}

    def __call__(self, inputs: Any, training: Any, weights: Any, **kwargs: Any) -> Any:
        """Return ``inputs`` on 256 levels; while training, move the range first."""
        low, high = weights["min_var"], weights["max_var"]
        if training:
            count = weights["count"].assign_add(1.0)
            pace = tf.maximum(1.0 / count, _SLOWEST)
            seen_low = tf.minimum(tf.reduce_min(inputs), 0.0)
            seen_high = tf.maximum(tf.reduce_max(inputs), _NARROWEST)
            low = low.assign(low + pace * (seen_low - low))
            high = high.assign(high + pace * (seen_high - high))
        return tf.quantization.fake_quant_with_min_max_vars(inputs, low, high, num_bits=8)


class CodeQuantizer(quantizers.Quantizer):  # type: ignore[misc]
    """Puts a kernel onto mask, scale and codes; the gradient passes straight through.

    Straight-through estimator: Bengio, Leonard and Courville 2013 (arXiv:1308.3432).
    """

    def __init__(self, channels: Axes, outputs: Axes, clusters: int) -> None:
        self.channels, self.outputs, self.clusters = channels, outputs, clusters

    def build(self, tensor_shape: Any, name: str, layer: Any) -> dict[str, Any]:
        """Return the mask, and codes and edges with room for ``clusters`` of them."""

        def fixed(kind: str, shape: Any, start: str) -> Any:
            return layer.add_weight(
                f"{name}_{kind}", shape=shape, initializer=start, trainable=False
            )

        self.variables = {
            "mask": fixed("mask", tensor_shape, "ones"),
            "taps": fixed("taps", tensor_shape, "zeros"),
            "unit": fixed("unit", self._gains(tensor_shape), "ones"),
            "codes": fixed("codes", (self.clusters,), "zeros"),
            "edges": fixed("edges", (self.clusters - 1,), "zeros"),
            "gain": layer.add_weight(
                f"{name}_gain", shape=self._gains(tensor_shape), initializer="zeros"
            ),
        }
        return self.variables

    def _gains(self, shape: Any) -> tuple[int, ...]:
        """Return one gain per scale: per output channel, or one for the tensor."""
        return tuple(
            size if axis in self.channels else 1 for axis, size in enumerate(shape.as_list())
        )

    def __call__(self, inputs: Any, training: Any, weights: Any, **kwargs: Any) -> Any:
        """Return the kernel that the device will compute with, as floats."""
        kept = inputs * weights["mask"]  # inputs are the kernel over its first scales
        still = tf.stop_gradient(kept)
        others = [axis for axis in range(len(still.shape)) if axis not in self.channels]
        scale = tf.reduce_max(tf.abs(still), axis=others, keepdims=True)
        scale = tf.where(scale > 0, scale, tf.ones_like(scale)) / LIMIT
        level = still / scale
        if self.clusters > 2 * LIMIT:
            codes = tf.round(level)
        else:
            found = tf.searchsorted(weights["edges"], tf.reshape(level, [-1]))
            codes = tf.reshape(tf.gather(weights["codes"], found), tf.shape(level))
        rounded = kept + tf.stop_gradient(codes * scale - kept)
        return rounded * weights["unit"] * tf.exp(weights["gain"])

    def shift(self, kernel: Any) -> Any:
        """Return how far rounding ``kernel`` moves the mean of each output channel."""
        rounded = self(kernel, False, self.variables)
        free = self.variables["unit"] * tf.exp(self.variables["gain"])
        exact = kernel * self.variables["mask"] * free
        others = [axis for axis in range(len(kernel.shape)) if axis not in self.outputs]
        moved = tf.reduce_sum((rounded - exact) * self.variables["taps"], axis=others)
        return tf.stop_gradient(tf.reshape(moved, [-1]))

    def get_config(self) -> dict[str, Any]:
        """Return the settings; this quantizer is gone before a model is saved."""
        return {"channels": self.channels, "clusters": self.clusters}


class BiasQuantizer(quantizers.Quantizer):  # type: ignore[misc]
    """Takes back what rounding the kernel does to the mean of each output channel.

    Bias correction (Nagel et al. 2019, arXiv:1906.04721), renewed at every step: without
    it, a weight that changes its code moves a whole channel by its mean input.
    """

    def __init__(self, kernel: Any, rounding: CodeQuantizer) -> None:
        self.kernel, self.rounding = kernel, rounding

    def build(self, tensor_shape: Any, name: str, layer: Any) -> dict[str, Any]:
        """Return no variables of its own."""
        return {}

    def __call__(self, inputs: Any, training: Any, weights: Any, **kwargs: Any) -> Any:
        """Return the bias that the device will add."""
        return inputs - self.rounding.shift(self.kernel)

    def get_config(self) -> dict[str, Any]:
        """Return nothing to save: this quantizer is gone before a model is saved."""
        return {}


class TrainingConfig(quantize_config.QuantizeConfig):  # type: ignore[misc]
    """A deployed config with its range quantizers, and the kernel's, replaced by ours."""

    def __init__(self, deployed: Any, kernel: str | None, quantizer: Any) -> None:
        self.deployed, self.kernel, self.quantizer = deployed, kernel, quantizer

    def get_weights_and_quantizers(self, layer: Any) -> list[tuple[Any, Any]]:
        """Return the kernel with its quantizer."""
        if not self.kernel:
            return []
        kernel = getattr(layer, self.kernel)
        bias = BiasQuantizer(kernel, self.quantizer)
        return [(kernel, self.quantizer), (layer.bias, bias)]

    def set_quantize_weights(self, layer: Any, quantize_weights: list[Any]) -> None:
        """Let ``layer`` compute with the quantized kernel."""
        for name, weight in zip((self.kernel, "bias"), quantize_weights, strict=False):
            setattr(layer, str(name), weight)

    def get_activations_and_quantizers(self, layer: Any) -> list[tuple[Any, Any]]:
        """Return the activations that are quantized when deployed, with our ranges."""
        inner = self.deployed.get_activations_and_quantizers(layer)
        return [(activation, RangeQuantizer()) for activation, _ in inner]

    def set_quantize_activations(self, layer: Any, quantize_activations: list[Any]) -> None:
        """Let ``layer`` compute with the quantized activation."""
        self.deployed.set_quantize_activations(layer, quantize_activations)

    def get_output_quantizers(self, layer: Any) -> list[Any]:
        """Return our range where the output is quantized when deployed."""
        return [RangeQuantizer() for _ in self.deployed.get_output_quantizers(layer)]

    def get_config(self) -> dict[str, Any]:
        """Return nothing to save: this config is gone before a model is saved."""
        return {}

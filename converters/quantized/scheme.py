"""TFMOT's 8-bit scheme with kernels quantized our way; imports TensorFlow.

Two forms of one model. *Training*: kernels pass through mask and codebook with a
straight-through gradient, activation ranges are learned without TFMOT's start at +-6.
*Deployed*: TFMOT's own classes only, kernels already on their codes. Convolutions carry no
fake quantization then: the converter finds ``max|w| / 127`` per channel by itself, on the
right axis also for depthwise ones, which TFMOT quantizes along the wrong one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from tensorflow_model_optimization.python.core.quantization.keras import (
    quantize_config,
    quantizers,
)
from tensorflow_model_optimization.python.core.quantization.keras.default_8bit import (
    default_8bit_quantize_configs as output_configs,
)
from tensorflow_model_optimization.python.core.quantization.keras.default_8bit import (
    default_8bit_quantize_layout_transform as layout,
)
from tensorflow_model_optimization.python.core.quantization.keras.default_8bit import (
    default_8bit_quantize_registry as registry,
)
from tensorflow_model_optimization.python.core.quantization.keras.default_8bit import (
    default_8bit_quantize_scheme as scheme,
)

from converters import keras2
from converters.graph.activations import FUSED
from converters.weights.codebook import CHANNELS, LIMIT, OUTPUTS, Axes, scales

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


KERNELS = {
    "Conv1D": "kernel",
    "Conv2D": "kernel",
    "Conv2DTranspose": "kernel",
    "DepthwiseConv2D": "depthwise_kernel",
    "Dense": "kernel",
}

#: Layers without a kernel whose result gets a range of its own.
_OUTPUT_ONLY = (
    *("Average", "Dot", "LayerNormalization", "Maximum", "Minimum", "Multiply", "PReLU"),
    *("Rescaling", "Resizing", "Subtract", "UnitNormalization"),
)
#: Layers that only choose or repeat values: the range before is the range behind.
_RANGE_KEPT = ("CenterCrop", "MaxPooling1D", "RepeatVector", "UpSampling1D", "ZeroPadding3D")
#: Layers whose int8 operator has one scale before and behind. Given a range of its own and
#: several readers, the converter puts no requantization between and refuses the two scales.
_KEEPS_SCALE = ("AveragePooling1D", "AveragePooling2D")
#: Activations whose int8 operator has a range that no training may choose.
_FIXED_RANGE = ("causal_softmax", "linear", "sigmoid", "softmax", "tanh")


class Registry(registry.Default8BitQuantizeRegistry):  # type: ignore[misc]
    """TFMOT's layers, and those that need no more than their output quantized."""

    def __init__(self) -> None:
        super().__init__()
        layers = keras2.keras.layers
        for name in _OUTPUT_ONLY:
            kind = getattr(layers, name)
            self._layer_quantize_map[kind] = registry._QuantizeInfo(kind, [], [], True)
        for name in _RANGE_KEPT:
            kind = getattr(layers, name)
            self._layer_quantize_map[kind] = registry._no_quantize(kind)
        self._layer_quantize_map[layers.Conv1D] = registry._QuantizeInfo(
            layers.Conv1D, ["kernel"], ["activation"]
        )

    def supports(self, layer: Any) -> bool:
        """Tell whether ``layer`` is trained with quantization, activation and all."""
        activation = getattr(layer, "activation", None)
        name = getattr(activation, "__name__", type(activation).__name__)
        fused = activation is None or name in (*FUSED, "NoOpActivation")
        alone = type(layer).__name__ == "Activation"
        return (fused or alone) and bool(super().supports(layer))

    def get_quantize_config(self, layer: Any) -> Any:
        """Return the config of ``layer``: for an activation its range, unless that is fixed."""
        if type(layer).__name__ != "Activation":
            return super().get_quantize_config(layer)
        if layer.activation.__name__ in _FIXED_RANGE:
            return output_configs.NoOpQuantizeConfig()
        return output_configs.Default8BitOutputQuantizeConfig()


class Layout(layout.Default8BitQuantizeLayoutTransform):  # type: ignore[misc]
    """TFMOT's rewriting of the graph, after which each layer's config is chosen here."""

    def __init__(self, clusters: Mapping[str, int] | None) -> None:
        self.clusters = clusters

    def apply(self, model: Any, layer_quantize_map: dict[str, Any]) -> tuple[Any, Any]:
        """Return the rewritten model, and every layer's config in the map."""
        model, chosen = super().apply(model, layer_quantize_map)
        known = Registry()
        for layer in model.layers:
            if layer.name not in chosen or not known.supports(layer):
                continue
            given = (chosen[layer.name] or {}).get("quantize_config")
            if type(layer).__name__ in _KEEPS_SCALE and len(layer.outbound_nodes) > 1:
                given = output_configs.NoOpQuantizeConfig()
            config = _deployed(layer, given or known.get_quantize_config(layer))
            if self.clusters is not None:
                config = _trained(layer, config, self.clusters)
            chosen[layer.name] = {"quantize_config": config}
        return model, chosen


def _deployed(layer: Any, given: Any) -> Any:
    """Return the config of ``layer`` on the device, from what TFMOT gives it."""
    kind = type(layer).__name__
    if kind not in KERNELS:
        return given
    silent = isinstance(given, output_configs.NoOpQuantizeConfig)
    weights = [KERNELS[kind]] if kind == "Dense" else []
    activations = [] if silent else ["activation"]
    return registry.Default8BitQuantizeConfig(weights, activations, False)


def _trained(layer: Any, deployed: Any, clusters: Mapping[str, int]) -> TrainingConfig:
    kind = type(layer).__name__
    kernel = KERNELS.get(kind)
    if kernel is None:
        return TrainingConfig(deployed, None, None)
    most = clusters.get(f"{layer.name}/{kernel}", 2 * LIMIT + 1)
    return TrainingConfig(deployed, kernel, CodeQuantizer(CHANNELS[kind], OUTPUTS[kind], most))


class Scheme(scheme.Default8BitQuantizeScheme):  # type: ignore[misc]
    """What ``quantize_apply`` asks; with ``clusters`` None the model's deployed form."""

    def __init__(self, clusters: Mapping[str, int] | None) -> None:
        super().__init__()
        self.clusters = clusters

    def get_layout_transformer(self) -> Layout:
        """Return the rewriting of the graph."""
        return Layout(self.clusters)

    def get_quantize_registry(self) -> Registry:
        """Return which layers are known."""
        return Registry()


def supports(layer: Any) -> bool:
    """Tell whether ``layer`` is trained with quantization."""
    return bool(Registry().supports(layer))


def apply(model: Any, names: set[str], clusters: Mapping[str, int] | None) -> Any:
    """Return a new model with the layers ``names`` quantized; ``model`` is not changed.

    ``clusters`` gives the most codes of a kernel by name for the training form; None
    builds the deployed one.
    """
    quantize = keras2.tfmot.quantization.keras

    def annotate(layer: Any) -> Any:
        if layer.name not in names:
            return layer
        return quantize.quantize_annotate_layer(layer)

    with keras2.copying():
        marked = keras2.keras.models.clone_model(keras2.copy(model), clone_function=annotate)
        return quantize.quantize_apply(marked, scheme=Scheme(clusters))


def code_kernels(model: Any) -> Iterator[tuple[str, Any, CodeQuantizer, Mapping[str, Any]]]:
    """Yield (name, kernel, quantizer, its variables) of a model in its training form."""
    for wrapper in model.layers:
        for kernel, quantizer, variables in getattr(wrapper, "_weight_vars", [])[:1]:
            kind = kernel.name.split(":")[0].split("/")[-1]
            yield f"{wrapper.layer.name}/{kind}", kernel, quantizer, variables


def normalise(model: Any) -> None:
    """Divide each kernel by its first scales, kept beside it, without changing outputs.

    Adam moves every weight by about the learning rate whatever its size, and folded
    kernels differ by orders of magnitude (0.02 in the first layer of a 0..255 network).
    """
    for _, kernel, quantizer, variables in code_kernels(model):
        unit = scales(kernel.numpy(), quantizer.channels)
        kernel.assign(kernel / unit)
        variables["unit"].assign(np.reshape(unit, variables["unit"].shape))


def beside_kernels(model: Any) -> list[Any]:
    """Return the trainable variables that change no code: gains, biases, other layers'."""
    kernels = {id(kernel) for _, kernel, _, _ in code_kernels(model)}
    return [variable for variable in model.trainable_variables if id(variable) not in kernels]


def device_values(model: Any) -> dict[int, Any]:
    """Return what the device holds for each kernel and bias, by the variable's ``id``."""
    return {
        id(variable): quantizer(variable, False, variables)
        for wrapper in model.layers
        for variable, quantizer, variables in getattr(wrapper, "_weight_vars", [])
    }


def set_taps(model: Any, folded: Any, rows: Any) -> None:
    """Give every kernel of ``model`` the mean input of each of its weights over ``rows``.

    ``folded`` is the float model it was made of. The mean of an output channel is linear
    in the kernel, so its gradient there is that mean input, for any kind of layer.
    """
    layers = [layer for layer in folded.layers if type(layer).__name__ in KERNELS]
    watch = keras2.keras.Model(folded.inputs, [layer.input for layer in layers])
    seen = tf.nest.flatten(watch(tf.constant(rows, tf.float32), training=False))
    means = {
        f"{layer.name}/{KERNELS[type(layer).__name__]}": (layer, tf.reduce_mean(x, 0, True))
        for layer, x in zip(layers, seen, strict=True)
    }
    for name, _, _, variables in code_kernels(model):
        layer, mean = means[name]
        config = layer.get_config() | {"use_bias": False, "activation": "linear"}
        probe = type(layer).from_config(config)
        with tf.GradientTape() as tape:
            outputs = probe(mean)
            total = tf.reduce_sum(tf.reduce_mean(outputs, range(len(outputs.shape) - 1)))
        variables["taps"].assign(tape.gradient(total, probe.trainable_variables[0]))

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
from converters.quantized.quantizers import CodeQuantizer, TrainingConfig
from converters.weights.codebook import CHANNELS, LIMIT, OUTPUTS, scales

tf = keras2.tf

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

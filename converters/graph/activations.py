"""Rules for activations: layers of their own, made of what the converter has in int8."""

from __future__ import annotations

from typing import Any

from converters.graph.walk import Rule, Site

#: Activations that TFMOT trains as part of a layer; others become a layer of their own.
FUSED = ("linear", "relu", "swish", "gelu", "softmax", "sigmoid", "tanh")
#: Layers into which a following affine map folds.
KERNELED = ("Conv2D", "DepthwiseConv2D", "Conv2DTranspose", "Conv1D", "Dense")
_MADE = ("elu", "selu", "hard_sigmoid")


def activation(site: Site, name: str, x: Any, suffix: str = "") -> Any:
    """Return the activation ``name`` of ``x``, made of what has an int8 kernel.

    The converter has none for ELU: ``elu(x) = relu(x) + exp(min(x, 0)) - 1`` has.
    """
    step = f"{suffix}_" if suffix else ""
    if name == "elu":
        return _elu(site, x, 1.0, step)
    if name == "selu":
        alpha, scale = 1.6732632423543772, 1.0507009873554805  # arXiv:1706.02515
        return site.make("Rescaling", f"{step}scale", scale=scale)(_elu(site, x, alpha, step))
    if name == "hard_sigmoid":  # clip(0.2 x + 0.5, 0, 1) in tf_keras
        y = site.make("Rescaling", f"{step}line", scale=0.2, offset=0.5)(x)
        return site.make("ReLU", f"{step}clip", max_value=1.0)(y)
    return site.make("Activation", suffix, activation=name)(x)


def _elu(site: Site, x: Any, alpha: float, step: str) -> Any:
    over = site.make("ReLU", f"{step}over")(x)
    under = site.make("Subtract", f"{step}under")([x, over])
    grown = site.make("Activation", f"{step}exp", activation="exponential")(under)
    moved = site.make("Rescaling", f"{step}less", scale=alpha, offset=-alpha)(grown)
    return site.make("Add", f"{step}sum")([over, moved])


def _activation_layer(site: Site) -> Any:
    name = name_of(site.layer.activation)
    return activation(site, name, site.x) if name in _MADE else None


def _elu_layer(site: Site) -> Any:
    return _elu(site, site.x, float(site.layer.alpha), "")


def name_of(function: Any) -> str:
    """Return how Keras calls an activation function."""
    return str(getattr(function, "__name__", type(function).__name__))


def _split_activation(site: Site) -> Any:
    """Give an activation that TFMOT does not fuse a layer of its own."""
    layer, name = site.layer, name_of(site.layer.activation)
    if name in FUSED or site.x is None:
        return None
    settings = layer.get_config() | {"activation": "linear"}
    settings.pop("name")
    if name not in _MADE:
        name = layer.get_config()["activation"]
    x = site.make(type(layer), "", layer.get_weights(), **settings)(site.x)
    return activation(site, name, x, "activation")


def _relu(site: Site) -> Any:
    layer = site.layer
    slope = float(layer.negative_slope)
    if slope and layer.max_value is None and not float(layer.threshold):
        return site.make("LeakyReLU", alpha=slope)(site.x)
    return None


def _thresholded(site: Site) -> Any:
    """Return ``x`` where it is over theta, else 0; the converter has no int8 form of a cast."""
    theta, x = float(site.layer.theta), site.x
    if theta == 0:
        return site.make("ReLU")(x)
    if theta == 1:
        return site.make("Activation", "", activation="unit_threshold")(x)
    x = site.make("Rescaling", "over", scale=1 / theta)(x)
    x = site.make("Activation", "", activation="unit_threshold")(x)
    return site.make("Rescaling", "back", scale=theta)(x)


RULES: dict[str, Rule] = {
    **dict.fromkeys(KERNELED, _split_activation),
    "Activation": _activation_layer,
    "ELU": _elu_layer,
    "ReLU": _relu,
    "ThresholdedReLU": _thresholded,
}

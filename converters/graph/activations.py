"""Rules for activations: layers of their own, made of what the converter has in int8."""

from __future__ import annotations

from typing import Any

from converters.graph.walk import RewriteRule, Site

#: Activations that TFMOT trains as part of a layer; others become a layer of their own.
FUSED = ("linear", "relu", "swish", "gelu", "softmax", "sigmoid", "tanh")
#: Layers into which a following affine map folds.
KERNELED = ("Conv2D", "DepthwiseConv2D", "Conv2DTranspose", "Conv1D", "Dense")
#: Of w, w^2 and w^3 in -log(1 - w) for w from 0 to 1/2: the least largest error.
_LOG = (1.01778353, 0.31262248, 0.84479575)
_MADE = ("elu", "selu", "hard_sigmoid", "mish")


def activation(site: Site, name: str, x: Any, suffix: str = "") -> Any:
    """Return the activation ``name`` of ``x``, made of what has an int8 kernel.

    The converter has none for ELU: ``elu(x) = relu(x) + exp(min(x, 0)) - 1`` has, and
    ``tflite.activations`` makes one operator of it again.
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
    if name == "mish":
        return _mish(site, x, step)
    return site.make("Activation", suffix, activation=name)(x)


def _softplus(site: Site) -> Any:
    """Return ``log(1 + exp(x)) = relu(x) - log(1 - w)`` with ``w = sigmoid(-|x|)``.

    In int8, EXP and LOG of a wide range lose what they are for. ``-log(1 - w)`` of w from 0
    to 1/2 is a cubic within 0.0005, a fortieth of a step where outputs reach 6: too much
    for float, so this is for the converter alone.
    """
    x = site.x
    if x is None or name_of(site.layer.activation) != "softplus":
        return None
    over = site.make("ReLU", "over")(x)
    under = site.make("Subtract", "under")([x, over])
    far = site.make("Subtract", "far")([under, over])  # -|x|
    w = site.make("Activation", "share", activation="sigmoid")(far)
    y = site.make("Rescaling", "cubic", scale=_LOG[2], offset=_LOG[1])(w)
    y = site.make("Multiply", "square")([y, w])
    y = site.make("Rescaling", "line", scale=1.0, offset=_LOG[0])(y)
    y = site.make("Multiply", "rest")([y, w])
    return site.make("Add", "sum")([over, y])


def _mish(site: Site, x: Any, step: str) -> Any:
    """Return ``x tanh(log(1 + exp(x))) = x (2 / (1 + s^2) - 1)`` with ``s = sigmoid(-x)``."""
    s = site.make("Rescaling", f"{step}turned", scale=-1.0)(x)
    s = site.make("Activation", f"{step}share", activation="sigmoid")(s)
    y = site.make("Multiply", f"{step}square")([s, s])
    y = site.make("Rescaling", f"{step}more", scale=1.0, offset=1.0)(y)
    y = site.make("Activation", f"{step}root", activation="reciprocal_square_root")(y)
    y = site.make("Multiply", f"{step}part")([y, y])
    y = site.make("Rescaling", f"{step}gate", scale=2.0, offset=-1.0)(y)
    return site.make("Multiply", f"{step}product")([x, y])


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


RULES: dict[str, RewriteRule] = {
    **dict.fromkeys(KERNELED, _split_activation),
    "Activation": _activation_layer,
    "ELU": _elu_layer,
    "ReLU": _relu,
    "ThresholdedReLU": _thresholded,
}
#: What only the converter needs.
LAST_RULES: dict[str, RewriteRule] = {"Activation": _softplus}

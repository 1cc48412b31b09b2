"""A Keras config as data: its names, settings and wiring checked, and made ready to build.

A config names Python classes and functions, and Keras imports what it names. Only Keras'
own layers and their parts are let through, minus those that run foreign code or open files:
Lambda, TFSMLayer, TorchModuleWrapper, JaxLayer, FlaxLayer, and the vocabulary look-ups
(a vocabulary may be a path: the file it names would be read). A name that is not here is
refused, never imported.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from converters.errors import ModelRefused, quote, refusal
from converters.reading import keras3_ops


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


CONTAINERS = frozenset({"Functional", "Model", "Sequential"})

CODE = frozenset(
    {"Lambda", "__lambda__", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer"}
)

COMPRESSED = frozenset(
    {
        "QuantizeLayer",
        "QuantizeWrapper",
        "QuantizeWrapperV2",
        "PruneLowMagnitude",
        "ClusterWeights",
        "QuantizedDTypePolicy",
        "Int8DTypePolicy",
        "Int4DTypePolicy",
        "QuantizedFloat8DTypePolicy",
    }
)

LAYERS = _words(
    """
    Activation ActivityRegularization Add AdditiveAttention AlphaDropout Attention Average
    AveragePooling1D AveragePooling2D AveragePooling3D BatchNormalization Bidirectional
    CategoryEncoding CenterCrop Concatenate Conv1D Conv1DTranspose Conv2D Conv2DTranspose
    Conv3D Conv3DTranspose ConvLSTM1D ConvLSTM2D ConvLSTM3D Cropping1D Cropping2D Cropping3D
    Dense DepthwiseConv1D DepthwiseConv2D Discretization Dot Dropout ELU EinsumDense Embedding
    Flatten GRU GRUCell GaussianDropout GaussianNoise GlobalAveragePooling1D
    GlobalAveragePooling2D GlobalAveragePooling3D GlobalMaxPooling1D GlobalMaxPooling2D
    GlobalMaxPooling3D GroupNormalization Identity InputLayer LSTM LSTMCell LayerNormalization
    LeakyReLU LocallyConnected1D LocallyConnected2D Masking MaxPooling1D MaxPooling2D
    MaxPooling3D Maximum Minimum MultiHeadAttention Multiply Normalization PReLU Permute RNN
    RandomBrightness RandomContrast RandomCrop RandomFlip RandomHeight RandomRotation
    RandomTranslation RandomWidth RandomZoom ReLU RepeatVector Rescaling Reshape Resizing
    SeparableConv1D SeparableConv2D SimpleRNN SimpleRNNCell Softmax SpatialDropout1D
    SpatialDropout2D SpatialDropout3D SpectralNormalization StackedRNNCells Subtract
    BatchNormalizationV1 BatchNormalizationV2 ThresholdedReLU
    TimeDistributed UnitNormalization UpSampling1D UpSampling2D UpSampling3D ZeroPadding1D
    ZeroPadding2D ZeroPadding3D TFOpLambda SlicingOpLambda
    AdaptiveAveragePooling1D AdaptiveAveragePooling2D AdaptiveMaxPooling1D
    AdaptiveMaxPooling2D RMSNormalization GroupQueryAttention
    AutoContrast AugMix CutMix Equalization MixUp RandAugment RandomColorDegeneration
    RandomColorJitter RandomElasticTransform RandomErasing RandomGaussianBlur RandomGrayscale
    RandomHue RandomInvert RandomPerspective RandomPosterization RandomSaturation
    RandomSharpness RandomShear Solarization
    """
)

PARTS = _words(
    """
    Constant GlorotNormal GlorotUniform HeNormal HeUniform Identity IdentityInitializer
    LecunNormal LecunUniform Ones Orthogonal OrthogonalInitializer RandomNormal RandomUniform
    TruncatedNormal VarianceScaling Zeros
    L1 L2 L1L2 OrthogonalRegularizer
    MaxNorm MinMaxNorm NonNeg RadialConstraint UnitNorm
    Policy DTypePolicy
    __keras_tensor__ __numpy__ __tensor__ __tuple__ __ellipsis__ __slice__ TensorShape
    """
)

ACTIVATIONS = _words(
    """
    celu elu exponential gelu glu hard_shrink hard_sigmoid hard_silu hard_swish hard_tanh
    leaky_relu linear log_sigmoid log_softmax mish relu relu6 selu sigmoid silu soft_shrink
    softmax softplus softsign sparse_plus sparse_sigmoid sparsemax squareplus swish tanh
    tanh_shrink threshold
    """
)

# Where Keras may look a name up: not keras.utils (it downloads), not a user's package.
MODULES = re.compile(
    r"(tf_)?keras(\.src)?"
    r"(\.(layers|engine|models|initializers|regularizers|constraints|activations"
    r"|dtype_policies|mixed_precision|ops)(\.[a-z0-9_]+)*)?"
    r"|builtins"
    r"|tensorflow\.python\.ops\.init_ops_v2"  # tf_keras' EfficientNetV2 writes it
)
OPS_MODULE = re.compile(r"keras\.src\.ops\.(numpy|nn|core|math|image)")

# tf.* symbols an op layer of tf_keras (TFOpLambda) may name: they compute on tensors only.
TF_FUNCTIONS = _words(
    """
    cast clip_by_value concat expand_dims gather identity pad repeat reshape reverse shape
    slice split squeeze stack strided_slice tile transpose unstack where one_hot
    compat.v1.shape compat.v1.squeeze compat.v1.concat compat.v1.transpose
    compat.v1.nn.softmax compat.v1.nn.relu6 compat.v1.nn.leaky_relu compat.v1.nn.avg_pool
    compat.v1.nn.max_pool compat.v1.pad compat.v1.expand_dims compat.v1.gather
    image.resize image.pad_to_bounding_box image.crop_to_bounding_box
    linalg.matmul linalg.l2_normalize linalg.einsum einsum tensordot norm
    """
)
TF_PREFIXES = ("math.", "nn.", "__operators__.")
TF_EXCEPT = frozenset({"nn.embedding_lookup_sparse", "nn.scale_regularization_loss"})


def names_tf_function(function: object) -> bool:
    """Return whether an op layer may call the ``tf.`` symbol of this name."""
    if not isinstance(function, str) or function in TF_EXCEPT:
        return False
    if function.startswith("keras.activations."):
        return function.rpartition(".")[2] in ACTIVATIONS
    return function in TF_FUNCTIONS or function.startswith(TF_PREFIXES)


MAX_LAYERS = 5_000  # EfficientNetB7 has 813
MAX_DEPTH = 200
_KERAS_WITHOUT_CODE = "layers of Keras itself, whose loading runs no code of the file's own"
_TRUST = "pass --allow-code if you trust where the file comes from"


@dataclass(frozen=True, slots=True)
class Found:
    """One object in a config and the layer it belongs to."""

    layer: str
    entry: dict[str, Any]


def check_config(config: object, source: Path, *, allow_code: bool = False) -> dict[str, Any]:
    """Return ``config`` as a dict, once nothing in it can run code or open files.

    Raises:
        ModelRefused: a Lambda, a class or module that is not Keras' own, a model that is
            already compressed, a subclassed model; the layer is named.
    """
    top = _top(config, source)
    for count, found in enumerate(objects(top, source)):
        if count > 50 * MAX_LAYERS:
            raise _shape_of(source, f"a config of more than {50 * MAX_LAYERS:,} objects")
        _check_size(found, source)
        _check_compressed(found, source)
        if not allow_code:
            _check_object(found, source)
    _check_channels(top, source)
    return top


def _top(config: object, source: Path) -> dict[str, Any]:
    if not isinstance(config, dict) or not isinstance(config.get("config"), (dict, list)):
        raise _shape_of(source, "a config that describes no model")
    kind = config.get("class_name")
    if not isinstance(kind, str) or kind not in CONTAINERS:
        raise refusal(
            source,
            wanted="a functional or Sequential model",
            got=f"a model of the class {quote(kind)} (subclassed?)",
            do="rebuild it as keras.Model(inputs, outputs) and save that",
        )
    if isinstance(config["config"], list):  # Keras 2.1: a Sequential was a bare list
        config = config | {"config": {"name": "sequential", "layers": config["config"]}}
    if not isinstance(config["config"].get("layers"), list):
        raise _shape_of(source, "a model without a list of layers (subclassed?)")
    return config


def objects(config: dict[str, Any], source: Path) -> Iterator[Found]:
    """Yield every object of a config with the name of the layer it stands in."""
    stack: list[tuple[Any, str, int]] = [(config, "", 0)]
    while stack:
        value, layer, depth = stack.pop()
        if depth > MAX_DEPTH:
            raise _shape_of(source, f"a config nested deeper than {MAX_DEPTH}")
        if isinstance(value, list):
            stack.extend((item, layer, depth + 1) for item in reversed(value))
        elif isinstance(value, dict):
            if "class_name" in value:
                layer = _layer_name(value, layer)
                yield Found(layer, value)
            stack.extend((item, layer, depth + 1) for item in reversed(list(value.values())))


def _layer_name(entry: dict[str, Any], outer: str) -> str:
    inner = entry.get("config")
    name = inner.get("name") if isinstance(inner, dict) else None
    own = name if isinstance(name, str) else entry.get("name")
    kind = entry.get("class_name")
    is_part = isinstance(kind, str) and kind in PARTS
    return own if isinstance(own, str) and not is_part else outer


def _check_size(found: Found, source: Path) -> None:
    inner = found.entry.get("config")
    layers = inner.get("layers") if isinstance(inner, dict) else None
    if isinstance(layers, list) and len(layers) > MAX_LAYERS:
        raise _shape_of(source, f"{len(layers):,} layers, over {MAX_LAYERS:,}")


def _check_compressed(found: Found, source: Path) -> None:
    kind = found.entry["class_name"]
    if isinstance(kind, str) and kind.rpartition(">")[2] in COMPRESSED:
        raise refusal(
            source,
            wanted="the float model, before any compression",
            got=f"layer {quote(found.layer)} ({quote(kind)}), already quantized or wrapped",
            do="save the model it was made from (TFMOT: strip_pruning, strip_clustering)",
        )


def _check_object(found: Found, source: Path) -> None:
    """Refuse an object that is not Keras' own."""
    entry, kind = found.entry, found.entry["class_name"]
    where = f"layer {quote(found.layer)}" if found.layer else "the model"
    if not isinstance(kind, str):
        raise _shape_of(source, f"{where} of a class that is no name")
    if kind in CODE:
        raise refusal(
            source,
            wanted=_KERAS_WITHOUT_CODE,
            got=f"{where} ({kind}), which carries code",
            do=f"replace it by Keras layers, or {_TRUST}",
        )
    module, registered = entry.get("module"), entry.get("registered_name")
    if isinstance(module, str) and OPS_MODULE.fullmatch(module):
        if kind in keras3_ops.RULES or kind in keras3_ops.MASKS:
            return
        raise refusal(
            source,
            wanted="operators that tf_keras has too",
            got=f"operator {quote(found.layer)} ({quote(kind)})",
            do="replace it by a Keras layer, or save the model from tf_keras",
        )
    of_keras = module is None or (isinstance(module, str) and MODULES.fullmatch(module))
    own_name = registered is None or registered in (kind, entry.get("config"))
    if not of_keras or not own_name or not _is_known(entry, kind):
        origin = module if isinstance(module, str) and module != "builtins" else registered
        shown = f"{kind} of {origin}" if origin and origin != kind else kind
        raise refusal(
            source,
            wanted=_KERAS_WITHOUT_CODE,
            got=f"{where} ({quote(shown)}), which is not Keras' own or opens files",
            do=f"replace it by Keras layers, or {_TRUST}",
        )


def _is_known(entry: dict[str, Any], kind: str) -> bool:
    inner = entry.get("config")
    if kind == "function":
        return isinstance(inner, str) and inner in ACTIVATIONS
    if kind == "TFOpLambda":
        return isinstance(inner, dict) and names_tf_function(inner.get("function"))
    return kind in LAYERS or kind in PARTS or kind in CONTAINERS


def _check_channels(config: dict[str, Any], source: Path) -> None:
    for found in objects(config, source):
        inner = found.entry.get("config")
        if isinstance(inner, dict) and inner.get("data_format") == "channels_first":
            raise refusal(
                source,
                wanted="channels last, (height, width, channels)",
                got=f"layer {quote(found.layer)} with data_format='channels_first'",
                do="rebuild the model with channels last: this CPU and .tflite have no other",
            )


def _shape_of(source: Path, got: str) -> ModelRefused:
    return refusal(
        source,
        wanted="the config of a Keras model",
        got=got,
        do="save it again with model.save('model.keras')",
    )


_CONSTANT = "_CONSTANT_VALUE"
_PACKED = "_COMPOSITE_TYPE"  # JSON inside a string, which the config check cannot see into
_STATES = {"LSTM": 2, "ConvLSTM1D": 2, "ConvLSTM2D": 2, "ConvLSTM3D": 2}
_SIZES = {"split": "num_or_size_splits", "unstack": "num"}


def check_wiring(config: dict[str, Any], source: Path) -> None:
    """Refuse a graph, at any depth, whose calls wait for each other or for nothing.

    Raises:
        ModelRefused: with the layer that waits.
    """
    for found in objects(config, source):
        inner = found.entry.get("config")
        if isinstance(inner, dict) and "input_layers" in inner:
            _check_graph(inner, source)


def _check_graph(graph: dict[str, Any], source: Path) -> None:
    layers: dict[str, dict[str, Any]] = {}
    waiting: dict[str, list[Any]] = {}
    for layer in graph.get("layers") or ():
        name = layer.get("name") if isinstance(layer, dict) else None
        nodes = layer.get("inbound_nodes") if isinstance(layer, dict) else None
        if not isinstance(name, str) or not isinstance(nodes, list) or name in layers:
            raise _broken(source, f"layer {quote(name)} twice, without a name or its calls")
        layers[name] = layer
        waiting[name] = list(nodes)
    made = {name: _first(layer) for name, layer in layers.items()}
    moved = True
    while moved:
        moved = False
        for name, nodes in waiting.items():
            while nodes and _ready(nodes[0], layers, made, source):
                nodes.pop(0)
                made[name] += 1
                moved = True
    stuck = [name for name, nodes in waiting.items() if nodes]
    if stuck:
        raise _broken(source, f"layer {quote(stuck[0])} reading what is never computed")


def _first(layer: dict[str, Any]) -> int:
    """Return the number of a layer's first call: a nested model counts its own as 0."""
    inner = layer.get("config")
    if str(layer.get("class_name")) not in CONTAINERS or not isinstance(inner, dict):
        return 0
    layers = inner.get("layers")
    first = layers[0] if isinstance(layers, list) and layers else None
    if not isinstance(first, dict):
        return 0
    settings = first.get("config")
    has_input = isinstance(settings, dict) and "batch_input_shape" in settings
    return int(first.get("class_name") == "InputLayer" or has_input)


def _ready(
    node: Any, layers: dict[str, dict[str, Any]], made: dict[str, int], source: Path
) -> bool:
    for reference, is_keyword in _references(node, False):
        name, call, output = reference[:3]
        if name == _CONSTANT and not is_keyword:
            if _PACKED in str(output):
                raise _broken(source, "a constant packed as text")
            continue
        if name not in layers or not isinstance(call, int) or not isinstance(output, int):
            raise _broken(source, f"a call that reads {quote(reference[:3])}")
        layer = layers[name]
        if layer.get("class_name") != "InputLayer" and not _first(layer) <= call < made[name]:
            return False
        if is_keyword and not 0 <= output < _outputs(layer):
            raise _broken(source, f"a call that reads output {output} of layer {quote(name)}")
    return True


def _references(nested: Any, is_keyword: bool) -> Iterator[tuple[list[Any], bool]]:
    """Yield each ``[layer, call, output]`` and whether it stands among the keywords."""
    if isinstance(nested, dict):
        for value in nested.values():
            yield from _references(value, is_keyword)
    elif isinstance(nested, list):
        if len(nested) in (3, 4) and isinstance(nested[0], str):
            yield nested, is_keyword
            if len(nested) == 4:
                yield from _references(nested[3], True)
        else:
            for item in nested:
                yield from _references(item, is_keyword)


def _outputs(layer: dict[str, Any]) -> int:
    """Return how many outputs a layer has, at least as far as keywords need it."""
    kind, inner = str(layer.get("class_name")), layer.get("config")
    settings = inner if isinstance(inner, dict) else {}
    if settings.get("return_state"):
        return 1 + _STATES.get(kind, 1)
    if kind in CONTAINERS:
        return len(settings.get("output_layers") or [None])
    size = _SIZES.get(str(settings.get("function")))
    if kind == "TFOpLambda" and size:
        counts = [
            ref[3].get(size)
            for ref, _ in _references(layer["inbound_nodes"], False)
            if len(ref) == 4 and isinstance(ref[3], dict)
        ]
        count = next((c for c in counts if isinstance(c, (int, list))), 1)
        return count if isinstance(count, int) else len(count)
    return 1


def _broken(source: Path, got: str) -> ModelRefused:
    return refusal(
        source,
        wanted="a graph whose layers can be called one after the other",
        got=got,
        do="copy it again, or save it again with model.save('model.keras')",
    )


_OTHER_FLOATS = frozenset({"float16", "float64", "mixed_float16", "mixed_bfloat16"})
_SHAPE_KEYS = ("batch_input_shape", "batch_shape", "build_input_shape")
_NOT_THE_MODEL = ("compile_config", "shared_object_id")


@dataclass(frozen=True, slots=True)
class Prepared:
    """A config that is safe to build and what was changed in it.

    Attributes:
        config: the model's config; a new dict, nothing shared with the one given.
        notes: changes a reader of the report should know.
    """

    config: dict[str, Any]
    notes: tuple[str, ...]


def without_compile(config: object) -> object:
    """Return a deep copy without compile settings, at any depth.

    Keras calls ``compile_from_config`` on every object that has them, which builds losses
    and optimizers by name; ``compiled`` reads those names as text instead.
    """
    if isinstance(config, dict):
        return {k: without_compile(v) for k, v in config.items() if k not in _NOT_THE_MODEL}
    if isinstance(config, list):
        return [without_compile(item) for item in config]
    return config


def prepare(config: dict[str, Any], source: Path) -> Prepared:
    """Return ``config`` in float32 with a free batch size; changes it in place.

    Raises:
        ModelRefused: several inputs or outputs, a stateful layer, bfloat16 weights.
    """
    _check_ends(config, source)
    notes: dict[str, None] = {}
    for found in objects(config, source):
        inner = found.entry.get("config")
        if not isinstance(inner, dict):
            continue
        if inner.get("stateful") is True:
            raise refusal(
                source,
                wanted="layers that keep no state between batches",
                got=f"layer {quote(found.layer)} with stateful=True",
                do="rebuild it with stateful=False",
            )
        if (was := _set_float32(found, inner, source)) is not None:
            notes[f"the file computes in {was}; loaded in float32"] = None
        for key in _SHAPE_KEYS:
            shape = inner.get(key)
            if isinstance(shape, list) and shape and isinstance(shape[0], int):
                notes[f"the file fixes the batch size at {shape[0]}; loaded with any"] = None
                inner[key] = [None, *shape[1:]]
    return Prepared(config, tuple(notes))


def _set_float32(found: Found, inner: dict[str, Any], source: Path) -> str | None:
    """Set another float policy to float32 and return what it was."""
    dtype = inner.get("dtype")
    if isinstance(dtype, dict):
        policy = dtype.get("config")
        dtype = policy.get("name") if isinstance(policy, dict) else None
    if dtype == "bfloat16":
        raise refusal(
            source,
            wanted="weights in float32",
            got=f"layer {quote(found.layer)} in bfloat16",
            do="save it in float32: keras.config.set_dtype_policy('float32') before building",
        )
    if isinstance(dtype, str) and dtype in _OTHER_FLOATS:
        inner["dtype"] = "float32"
        return dtype
    return None


def _check_ends(config: dict[str, Any], source: Path) -> None:
    for key, word in (("input_layers", "input"), ("output_layers", "output")):
        if key not in config["config"]:
            continue  # Sequential
        ends = _ends(config["config"][key])
        if len(ends) != 1:
            listed = ", ".join(quote(end) for end in ends[:8]) or "none"
            raise refusal(
                source,
                wanted=f"a model with one {word}",
                got=f"{len(ends)} {word}s: {listed}",
                do=f"cut the model to one {word}: keras.Model(one input, one output)",
            )


def _ends(value: object) -> list[object]:
    """Return the layer names in any of the forms Keras writes them."""
    if isinstance(value, dict):
        return list(value)
    if not isinstance(value, list):
        return []
    if value and isinstance(value[0], str):
        return [value[0]]
    return [item[0] if isinstance(item, list) and item else item for item in value]

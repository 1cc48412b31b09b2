"""Which inner maps of a model and its teacher mean the same, though stages rewrite graphs.

A stage simplifies a model, folds normalization, and wraps or renames layers. So the teacher
is rewritten in the same way: then a layer of one name holds the same map in both, after
whatever was folded into it. Names are those of the user's model; a layer whose normalization
and activation stand behind it as layers of their own is compared behind those.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from converters.draft import Training
from converters.errors import ModelRefused

#: What belongs to the layer before: its normalization and its activation.
_BEHIND = (
    *("BatchNormalization", "SyncBatchNormalization", "Activation"),
    *("ReLU", "LeakyReLU", "PReLU", "ELU", "ThresholdedReLU"),
)
_ACTIVATING = ("ReLU", "LeakyReLU", "PReLU", "ELU", "ThresholdedReLU")


@dataclass(frozen=True, slots=True)
class MapPair:
    """One map in both models, as symbolic tensors ``(N, *places, channels)``.

    Attributes:
        name: of the layer in the rewritten model.
    """

    name: str
    student: Any
    teacher: Any


@dataclass(frozen=True)
class FeatureMaps:
    """The maps of one model by the name of the layer that makes them, in order.

    Attributes:
        made: name -> (layer, tensor), of layers called once that make one tensor.
        readers: ``id`` of a tensor -> the layers that read it.
        ends: the outputs, by ``id``.
    """

    model: Any
    made: dict[str, tuple[Any, Any]] = field(default_factory=dict)
    readers: dict[int, list[Any]] = field(default_factory=dict)
    ends: frozenset[int] = frozenset()

    def settled(self, name: str) -> list[str]:
        """Return ``name`` and what stands behind it: its normalization, its activation."""
        found = [name]
        while True:
            tensor = self.made[found[-1]][1]
            after = self.readers.get(id(tensor), [])
            behind = len(after) == 1 and type(after[0]).__name__ in _BEHIND
            if not behind or id(tensor) in self.ends or after[0].name not in self.made:
                return found
            found.append(after[0].name)

    def last_activations(self, *, flat: bool) -> dict[tuple[int | None, ...], str]:
        """Return the last activation at each resolution; ``flat``: of dense layers too."""
        found = {}
        for name, (layer, tensor) in self.made.items():
            places = tuple(tensor.shape[1:-1])
            wide = any(size is None or size > 1 for size in places)
            inner = len(tensor.shape) > 1 and id(tensor) not in self.ends
            if inner and _activates(layer) and (wide or (flat and not places)):
                found[places] = name
        return found


def read(model: Any) -> FeatureMaps:
    """Return the maps of ``model``, under the names that layers had before a wrapper."""
    from converters import keras2

    calls: dict[str, list[tuple[Any, Any]]] = {}
    readers: dict[int, list[Any]] = {}
    by_depth = model._nodes_by_depth  # a layer's own nodes may belong to other models
    for depth in sorted(by_depth, reverse=True):  # falls from the inputs to the outputs
        for node in by_depth[depth]:
            layer = keras2.unwrapped(node.layer)
            calls.setdefault(layer.name, []).append((layer, node.outputs))
            for tensor in keras2.tf.nest.flatten(node.keras_inputs):
                readers.setdefault(id(tensor), []).append(layer)
    made = {
        name: found[0]
        for name, found in calls.items()
        if len(found) == 1
        and hasattr(found[0][1], "shape")
        and type(found[0][0]).__name__ != "InputLayer"  # the same in both, whatever is learned
    }
    return FeatureMaps(model, made, readers, frozenset(id(end) for end in model.outputs))


def _activates(layer: Any) -> bool:
    kind = getattr(getattr(layer, "activation", None), "__name__", "linear")
    return type(layer).__name__ in _ACTIVATING or kind not in ("linear", "softmax")


def pairs(
    model: Any, teacher: Any, training: Training, wanted: Sequence[str], *, flat: bool
) -> tuple[Any, tuple[MapPair, ...]]:
    """Return the teacher as rewritten, and the maps of ``model`` to compare with its.

    Without ``wanted`` names these are the last activation at each resolution: of the same
    name where the uncompressed model teaches, wherever it stands in another teacher. With
    ``flat`` dense layers count as a resolution.

    Raises:
        ModelRefused: a name that is in neither, or maps whose places differ; or none.
    """
    from converters import keras2
    from converters.graph import canonical

    form = canonical.deployable if keras2.is_quantized(model) else canonical.simplify
    user = teacher if training.original is None else training.original
    mine = read(model)
    own = read(form(user))
    told = own if teacher is user else read(form(teacher))
    names = (
        _named(user, teacher, (own, told), wanted) if wanted else _chosen(own, told, flat=flat)
    )
    kept = {one: other for one, other in names.items() if one in mine.made or wanted}
    made = tuple(_pair(mine, told, one, other) for one, other in kept.items())
    if not made:
        kind, where, instead = (
            ("features", "", "name layers")
            if flat
            else ("attention", " of several places", "use features")
        )
        raise ModelRefused(
            f"{kind}: wanted an activation{where} that is in the teacher too. Received: none; "
            f"{instead}, or set {kind} to 0"
        )
    return told.model, made


def check(model: Any, teacher: Any, wanted: Sequence[str]) -> None:
    """Check that each of ``wanted`` is a layer of both models, called once.

    Raises:
        ModelRefused: one is not; the nearest names are told.
    """
    from converters.graph import canonical

    if not wanted:
        return
    for each in (model,) if teacher is model else (model, teacher):
        known = read(canonical.inline(each)).made
        for name in wanted:
            if name not in known:
                near = difflib.get_close_matches(name, known, n=3, cutoff=0.3)
                told = f"{'nearest' if near else 'there are'}: {', '.join(near or known)}"
                raise ModelRefused(
                    f"layers: wanted names of layers that {each.name} calls once, not of an "
                    f"input. Received: {name!r}; {told}"
                )


def _chosen(own: FeatureMaps, told: FeatureMaps, *, flat: bool) -> dict[str, str]:
    mine, theirs = (maps.last_activations(flat=flat) for maps in (own, told))
    return {name: theirs[places] for places, name in mine.items() if places in theirs}


def _named(
    user: Any, teacher: Any, forms: tuple[FeatureMaps, FeatureMaps], wanted: Sequence[str]
) -> dict[str, str]:
    from converters.graph import canonical

    check(user, teacher, wanted)
    found: list[list[str]] = []
    for whole, form in zip((user, teacher), forms, strict=True):
        inlined = read(canonical.inline(whole))
        found.append([])
        for name in wanted:
            held = [each for each in inlined.settled(name) if each in form.made]
            if not held:
                raise ModelRefused(
                    f"layers: {name} of {whole.name} is rewritten before it is trained; "
                    f"wanted one of: {', '.join(form.made)}"
                )
            found[-1].append(held[-1])
    return dict(zip(*found, strict=True))


def _pair(mine: FeatureMaps, told: FeatureMaps, one: str, other: str) -> MapPair:
    if one not in mine.made:
        raise ModelRefused(
            f"layers: {one} is not in the model as it is trained here; wanted one of: "
            f"{', '.join(mine.made)}"
        )
    student, teacher = mine.made[one][1], told.made[other][1]
    places = [tuple(tensor.shape[1:-1]) for tensor in (student, teacher)]
    if len(student.shape) < 2 or places[0] != places[1]:
        raise ModelRefused(
            f"layers: {one}: wanted a map of the same places as the teacher's {other}, "
            f"{places[1]}. Received: {places[0]}; name another layer"
        )
    return MapPair(one, student, teacher)

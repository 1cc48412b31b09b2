"""Recurrent layers whose loop the converter cannot quantize, step by step.

The converter dies on a loop of these in int8; LSTM has a fused operator and keeps it. Up to
MOST_WRITTEN steps a cell is written out in layers that every stage knows: each gate has one
Dense (or convolution) over the whole series for the input and one, shared by all steps, for
the state, whose kernels are pruned, clustered and trained quantized like any other. The sums
and products of each step have ranges of their own, because a state grows over the steps. The
converter writes a shared kernel once, however many steps read it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from converters.graph.activations import activation, name_of
from converters.graph.walk import RewriteRule, Site

#: The gates of a cell in the order of its kernels' last axis.
_GATES = {"SimpleRNNCell": "h", "GRUCell": "zrh", "LSTMCell": "ifco", "ConvLSTMCell": "ifco"}


@dataclass(frozen=True, slots=True)
class Cell:
    """A Keras cell at one site; ``prefix`` tells its layers from those of another cell."""

    site: Site
    cell: Any
    weights: list[Any]
    prefix: str

    def run(self, series: Any, *, backwards: bool) -> list[Any]:
        """Return the state after each step, in the order in which the steps were taken.

        ``series`` is ``(T, ...)``. Input dropout stays, one mask for all steps as in Keras;
        dropout of the state is left out.
        """
        if self.cell.dropout and len(series.shape) == 3:
            series = self.make("SpatialDropout1D", "drop", rate=self.cell.dropout)(series)
        inputs = {gate: self._of_input(gate)(series) for gate in self._gates}
        count = series.shape[1]
        order = range(count - 1, -1, -1) if backwards else range(count)
        state, memory, states = None, None, []
        for at in order:
            now = {gate: self._cut(x, gate, at) for gate, x in inputs.items()}
            state, memory = self._step(_Step(self, now, at), state, memory)
            states.append(state)
        return states

    def make(self, kind: str, suffix: str, weights: Any = None, **settings: Any) -> Any:
        """Return a layer of this cell."""
        return self.site.make(kind, f"{self.prefix}{suffix}", weights, **settings)

    @property
    def _kind(self) -> str:
        return type(self.cell).__name__

    @property
    def _gates(self) -> str:
        return _GATES[self._kind]

    @property
    def _twice_biased(self) -> bool:
        """Tell whether the cell adds a bias of its own to what the state gives."""
        return self._kind == "GRUCell" and bool(self.cell.reset_after)

    def _part(self, values: Any, gate: str) -> Any:
        """Return what belongs to ``gate`` of an array whose last axis holds all gates."""
        return np.split(np.asarray(values), len(self._gates), axis=-1)[self._gates.index(gate)]

    def _of_input(self, gate: str) -> Any:
        kernel, _, *rest = self.weights
        bias = [self._part(part, gate) for part in rest]
        if bias and self._twice_biased:  # (2, units); outside the reset gate both just add
            own, state = bias[0]
            bias = [own if gate == "h" else own + state]
        weights = [self._part(kernel, gate), *bias]
        if self._kind != "ConvLSTMCell":
            return self._dense(f"{gate}_input", weights)
        cell = self.cell
        settings = {"strides": cell.strides, "dilation_rate": cell.dilation_rate}
        return self._conv(f"{gate}_input", weights, padding=cell.padding, **settings)

    def of_state(self, gate: str) -> Any:
        """Return the layer that ``gate`` reads the state through, the same at each step."""
        _, kernel, *rest = self.weights
        weights = [self._part(kernel, gate)]
        if rest and self._twice_biased and gate == "h":
            weights.append(self._part(rest[0], gate)[1])
        if self._kind == "ConvLSTMCell":
            return self._conv(f"{gate}_state", weights, padding="same")
        return self._dense(f"{gate}_state", weights)

    def _dense(self, suffix: str, weights: list[Any]) -> Any:
        units, biased = weights[0].shape[-1], len(weights) > 1
        return self.make("Dense", suffix, weights, units=units, use_bias=biased)

    def _conv(self, suffix: str, weights: list[Any], **settings: Any) -> Any:
        kernel = weights[0]
        return self.make(
            f"Conv{kernel.ndim - 2}D",
            suffix,
            weights,
            filters=kernel.shape[-1],
            kernel_size=kernel.shape[:-2],
            use_bias=len(weights) > 1,
            **settings,
        )

    def _cut(self, series: Any, gate: str, at: int) -> Any:
        """Return step ``at`` of a series as ``(...)``, without the axis of time."""
        count, *rest = series.shape[1:]
        sides = ((at, count - 1 - at), *((0, 0) for _ in rest[:-1]))
        cut = sides[0] if len(sides) == 1 else sides
        x = self.make(f"Cropping{len(sides)}D", f"{at}_{gate}_cut", cropping=cut)(series)
        return self.make("Reshape", f"{at}_{gate}_now", target_shape=tuple(rest))(x)

    def _step(self, step: _Step, state: Any, memory: Any) -> tuple[Any, Any]:
        if self._kind == "SimpleRNNCell":
            return step.gate("h", state, self.cell.activation), None
        if self._kind == "GRUCell":
            return self._gru(step, state), None
        return self._lstm(step, state, memory)

    def _gru(self, step: _Step, state: Any) -> Any:
        cell = self.cell
        z = step.gate("z", state, cell.recurrent_activation)
        if cell.reset_after:
            known = self._zeros(step, z) if state is None else state
            r = step.gate("r", state, cell.recurrent_activation)
            inner = step.join("Multiply", "reset", r, self.of_state("h")(known))
            new = step.act(
                "h", step.join("Add", "h_sum", step.now["h"], inner), cell.activation
            )
        elif state is None:
            new = step.gate("h", None, cell.activation)
        else:
            r = step.gate("r", state, cell.recurrent_activation)
            kept = step.join("Multiply", "reset", r, state)
            new = step.gate("h", kept, cell.activation)
        if state is None:
            return step.join("Multiply", "state", step.line("open", z, -1.0, 1.0), new)
        moved = step.join("Multiply", "kept", z, step.join("Subtract", "far", state, new))
        return step.join("Add", "state", new, moved)  # z h + (1 - z) new

    def _zeros(self, step: _Step, like: Any) -> Any:
        """Return zeros for a first state whose product has a bias that trains with the rest.

        They come out of a tanh, whose int8 scale is 1/128 whatever it reads: behind a range
        of nothing the converter coarsens the kernel until all its codes are zero.
        """
        return step.act("start", step.line("none", like, 0.0), "tanh")

    def _lstm(self, step: _Step, state: Any, memory: Any) -> tuple[Any, Any]:
        cell = self.cell
        gates = dict.fromkeys("ifo", cell.recurrent_activation) | {"c": cell.activation}
        if memory is None:
            gates.pop("f")
        made = {gate: step.gate(gate, state, how) for gate, how in gates.items()}
        fresh = step.join("Multiply", "fresh", made["i"], made["c"])
        if memory is not None:
            fresh = step.join(
                "Add", "sum", fresh, step.join("Multiply", "kept", made["f"], memory)
            )
        shown = step.act("shown", fresh, cell.activation)
        return step.join("Multiply", "state", made["o"], shown), fresh


@dataclass(frozen=True, slots=True)
class _Step:
    """One step of a cell: what each gate gets from the input, and layers named after it."""

    cell: Cell
    now: dict[str, Any]
    at: int

    def gate(self, name: str, state: Any, how: Any) -> Any:
        """Return a gate's value; a state of None is zero."""
        x = self.now[name]
        if state is not None:
            x = self.join("Add", f"{name}_sum", x, self.cell.of_state(name)(state))
        return self.act(name, x, how)

    def act(self, suffix: str, x: Any, how: Any) -> Any:
        """Return an activation of ``x``."""
        name = f"{self.cell.prefix}{self.at}_{suffix}"
        known = how if isinstance(how, str) else name_of(how)
        return x if known == "linear" else activation(self.cell.site, known, x, name)

    def join(self, kind: str, suffix: str, left: Any, right: Any) -> Any:
        """Return two tensors merged."""
        return self.cell.make(kind, f"{self.at}_{suffix}")([left, right])

    def line(self, suffix: str, x: Any, scale: float, offset: float = 0.0) -> Any:
        """Return ``scale * x + offset``."""
        return self.cell.make("Rescaling", f"{self.at}_{suffix}", scale=scale, offset=offset)(x)


#: More steps than these make a file that no small device takes.
MOST_STEPS = 128
#: Up to these a cell is written out in layers of its own, about ten a step.
MOST_WRITTEN = 32
_LOOPS = ("GRU", "SimpleRNN")
_MERGES = {"sum": "Add", "mul": "Multiply", "ave": "Average"}


def _written(site: Site) -> Any:
    """Return a layer of one cell written out (``cells``)."""
    layer, x = site.layer, site.x
    if not _may_write(site, x, layer):
        return None
    one = Cell(site, layer.cell, layer.cell.get_weights(), "")
    states = one.run(x, backwards=layer.go_backwards)
    return _series(site, "", states) if layer.return_sequences else states[-1]


def _both_written(site: Site) -> Any:
    """Return both directions written out, and merged as the layer merged them."""
    layer, x = site.layer, site.x
    ways = (layer.forward_layer, layer.backward_layer)
    kinds = {type(way).__name__ for way in ways}
    if not kinds <= set(_LOOPS) or layer.merge_mode not in ("concat", *_MERGES):
        return None
    if not all(_may_write(site, x, way) for way in ways):
        return None
    made = []
    for way, name in zip(ways, ("forward_", "backward_"), strict=True):
        one = Cell(site, way.cell, way.cell.get_weights(), name)
        states = one.run(x, backwards=way.go_backwards)
        if layer.return_sequences:  # both in the order of time
            in_time = states[::-1] if way.go_backwards else states
            made.append(_series(site, name, in_time))
        else:
            made.append(states[-1])
    kind = _MERGES.get(layer.merge_mode)
    return site.make(kind, "merge")(made) if kind else site.make("Concatenate", "merge")(made)


def _loop_of_cells(site: Site) -> Any:
    """Return a loop over cells of Keras' own as the layers of those cells."""
    layer, x = site.layer, site.x
    stack = list(getattr(layer.cell, "cells", [layer.cell]))
    kinds = [type(cell).__name__ for cell in stack]
    known = all(kind in ("GRUCell", "LSTMCell", "SimpleRNNCell") for kind in kinds)
    if not known or not _plain(site, x, layer):
        return None
    last = len(stack) - 1
    for number, cell in enumerate(stack):
        settings = cell.get_config() | {
            "go_backwards": layer.go_backwards and number == 0,
            "return_sequences": layer.return_sequences or number < last,
        }
        settings.pop("name")
        suffix = f"cell{number}" if last else ""
        x = site.make(kinds[number][: -len("Cell")], suffix, cell.get_weights(), **settings)(x)
    return x


def _plain(site: Site, x: Any, layer: Any) -> bool:
    """Tell whether ``layer`` is called on a series and nothing else, for outputs alone."""
    more = layer.return_state or layer.stateful or getattr(layer, "time_major", False)
    return x is not None and not more and all(v is None for v in site.kwargs.values())


def _may_write(site: Site, x: Any, layer: Any) -> bool:
    """Tell whether every step of ``layer`` is known and none is masked."""
    if not _plain(site, x, layer) or None in x.shape[1:]:
        return False
    masked = getattr(x, "_keras_mask", None) is not None  # steps that must be skipped
    last = getattr(layer.cell, "data_format", "channels_last") == "channels_last"
    return last and not masked and 2 <= x.shape[1] <= MOST_WRITTEN


def _series(site: Site, prefix: str, states: list[Any]) -> Any:
    """Return states one behind the other on an axis of time."""
    made = [
        site.make("Reshape", f"{prefix}{at}_row", target_shape=(1, *state.shape[1:]))(state)
        for at, state in enumerate(states)
    ]
    return site.make("Concatenate", f"{prefix}series", axis=1)(made)


def _unrolled(site: Site) -> Any:
    layer, x = site.layer, site.x
    if x is None or layer.unroll or any(v is not None for v in site.kwargs.values()):
        return None
    if x.shape[1] is None or x.shape[1] > MOST_STEPS:
        return None
    settings = layer.get_config() | {"unroll": True}
    settings.pop("name")
    return site.make(type(layer), "", layer.get_weights(), **settings)(x)


def _both_ways(site: Site) -> Any:
    layer, x = site.layer, site.x
    inner, config = layer.forward_layer, layer.get_config()
    if type(inner).__name__ not in _LOOPS or inner.unroll or "backward_layer" in config:
        return None
    if x is None or any(v is not None for v in site.kwargs.values()):
        return None
    if x.shape[1] is None or x.shape[1] > MOST_STEPS:
        return None
    step_by_step = type(inner).from_config(inner.get_config() | {"unroll": True})
    made = site.make(
        type(layer), "", layer.get_weights(), layer=step_by_step, merge_mode=layer.merge_mode
    )
    return made(x)


CELLS: dict[str, RewriteRule] = {"RNN": _loop_of_cells}
#: Exact forms that every stage works on; they serve pruning as well as training.
WRITTEN: dict[str, RewriteRule] = {
    **dict.fromkeys((*_LOOPS, "ConvLSTM1D", "ConvLSTM2D"), _written),
    "Bidirectional": _both_written,
}
#: What is left of the loops, for the converter alone.
RULES: dict[str, RewriteRule] = {
    **dict.fromkeys(_LOOPS, _unrolled),
    "Bidirectional": _both_ways,
}

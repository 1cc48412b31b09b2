"""Recurrent cells written out step by step, in layers that every stage knows.

Each gate has one Dense (or convolution) over the whole series for the input and one, shared
by all steps, for the state: their kernels are pruned, clustered and trained quantized like
any other. The sums and products of each step have ranges of their own, because a state grows
over the steps. The converter writes a shared kernel once, however many steps read it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from converters.graph.activations import activation, name_of
from converters.graph.walk import Site

#: The gates of a cell in the order of its kernels' last axis.
_GATES = {"SimpleRNNCell": "h", "GRUCell": "zrh", "LSTMCell": "ifco", "ConvLSTMCell": "ifco"}
KINDS = tuple(_GATES)


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

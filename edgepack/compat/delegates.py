"""Which operators an accelerator takes, which stay on the CPU, and what share of the work."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from edgepack.compat import xnnpack
from edgepack.compat.measured_support import measured_release
from edgepack.profiles.profile import CarriedRuntime, Delegate, Profile
from edgepack.tflite.facts import Facts, Op
from edgepack.tflite.per_facts import per_facts


@dataclass(frozen=True, slots=True)
class Delegation:
    """What a delegate takes of the main graph.

    Attributes:
        taken: numbers of the operators that it executes.
        left: (operator, why) of each that stays on the CPU.
        source: where its support is known from.
        measured: True where the answer is the runtime's own, not a document's.
    """

    taken: frozenset[int]
    left: tuple[tuple[Op, str], ...]
    source: str
    measured: bool
    macs_left: int
    macs_total: int

    @property
    def share_left(self) -> float:
        """The share of multiply-accumulates that stays on the CPU (0–1).

        Of operators, where the model multiplies nothing.
        """
        if self.macs_total:
            return self.macs_left / self.macs_total
        count = len(self.taken) + len(self.left)
        return len(self.left) / count if count else 0.0


@cache
def support_tables() -> dict[str, Any]:
    """Return tables/delegates.toml: operators, dtypes and source of each accelerator."""
    text = (
        resources.files("edgepack.compat")
        .joinpath("tables", "delegates.toml")
        .read_text("utf-8")
    )
    return tomllib.loads(text)


def device_kernels(profile: Profile) -> str:
    """Return the kernels that the device would use: with XNNPACK where it carries that.

    One answer for the planned and the sandbox's memory, latency and goldens.
    """
    if profile.runtime.kernels == "reference":
        return "reference"
    return "default" if any(d.name == "xnnpack" for d in profile.delegates) else "builtin"


def delegate(facts: Facts, asked: Delegate, runtime: CarriedRuntime) -> Delegation:
    """Return what one accelerator of a profile takes."""
    if asked.name == "xnnpack":
        return by_xnnpack(facts, runtime)
    tables = support_tables()
    key: str = asked.name
    if key.startswith("ethos-u"):
        key = "ethos-u85" if key.startswith("ethos-u85") else "ethos-u55"
    row = tables[key]
    return _by_table(
        facts,
        frozenset(asked.ops or row["ops"]),
        frozenset(asked.dtypes or row["dtypes"]),
        frozenset(row.get("custom", ())),
        asked.supports or row["source"],
    )


@per_facts
def _by_table(
    facts: Facts,
    ops: frozenset[str],
    dtypes: frozenset[str],
    custom: frozenset[str],
    source: str,
) -> Delegation:
    why = {op.index: _refusal(op, facts, ops, dtypes, custom) for op in facts.main.ops}
    return _delegation(facts, why, source, measured=False)


def by_xnnpack(facts: Facts, runtime: CarriedRuntime) -> Delegation:
    """Return what XNNPACK takes when the runtime applies it by default."""
    return _by_xnnpack(facts, runtime.name, runtime.version)


@per_facts
def _by_xnnpack(facts: Facts, line: str, version: str) -> Delegation:
    why = {op.index: xnnpack.refusal(op, facts, line, version) for op in facts.main.ops}
    for op in facts.main.ops:  # stored half-precision weights are unpacked where they are used
        source = facts.feed(op, 0)
        if op.name == "DEQUANTIZE" and op.outputs and source and source.constant:
            users = facts.users.get(op.outputs[0], ())
            if users and all(why[user.index] is None for user in users):
                why[op.index] = None
    release = measured_release(line, version)
    return _delegation(facts, why, f"measured on {release or 'nothing so old'}", measured=True)


def _refusal(
    op: Op,
    facts: Facts,
    ops: frozenset[str],
    dtypes: frozenset[str],
    custom: frozenset[str],
) -> str | None:
    if op.name in custom:
        return None
    if op.name not in ops:
        return "not among its operators"
    for tensor in facts.yields(op):
        if tensor.dtype not in dtypes:
            return f"computes {tensor.dtype}"
    data = [t for t in facts.feeds(op) if t is not None and not t.constant]
    strange = {t.dtype for t in data} - dtypes - {"int32", "bool"}
    if strange:
        return f"reads {', '.join(sorted(strange))}"
    if any(not tensor.static for tensor in facts.yields(op)):
        return "has an open dimension"
    return None


def _delegation(
    facts: Facts, why: Mapping[int, str | None], source: str, *, measured: bool
) -> Delegation:
    """Return what is taken, from why each operator of the main graph is not."""
    left = tuple((op, reason) for op in facts.main.ops if (reason := why[op.index]) is not None)
    return Delegation(
        taken=frozenset(index for index, reason in why.items() if reason is None),
        left=left,
        source=source,
        measured=measured,
        macs_left=sum(op.macs for op, _ in left),
        macs_total=facts.macs,
    )

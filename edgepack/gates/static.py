"""The static gates: what a .tflite alone says about a device, each as one finding; pure.

Every gate is a function of facts and profile; ``judge`` asks all of them, so that one run
names everything that is wrong, and ``suggest`` asks them about many devices. What each
verdict means is in docs/gates.md.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from edgepack.compat.delegates import Delegation, delegate, support_tables
from edgepack.compat.operators import IncompatibleOperator, incompatible_operators
from edgepack.gates.finding import Finding, How, Outcome, Verdict
from edgepack.gates.limits import (
    at_most,
    download_limit,
    ram_limit,
    range_at_most,
    storage_limit,
)
from edgepack.planning.peak import plan_memory
from edgepack.profiles.profile import Delegate, Profile
from edgepack.tflite import flatbuffer
from edgepack.tflite.facts import FLOATS, Facts, Op, Tensor
from edgepack.units import format_bytes

F = TypeVar("F")

_FIXED_BATCH = "convert with fixed shapes and a batch of 1"
_REPLACE = "replace these layers, or choose another device (edgepack profiles list)"
_MEASURED = "name a release that was measured, in a profile of your own"
#: Kinds of device on which a float operator is a failure: no build for them promises float.
INTEGER_KINDS = frozenset({"mcu", "npu"})


def storage(facts: Facts, profile: Profile) -> Finding:
    """The file fits into the flash or storage that one model may take."""
    return at_most(
        "storage",
        facts.flatbuffer_bytes,
        storage_limit(profile),
        "B",
        how=How.PLANNED,
        what="flatbuffer",
        remedy=_smaller(facts)
        + "fewer channels or layers; pruning and clustering do not shrink the file",
    )


def download(facts: Facts, profile: Profile) -> Finding:
    """The compressed file fits into what one download may cost."""
    return at_most(
        "download",
        facts.download_bytes,
        download_limit(profile),
        "B",
        how=How.PLANNED,
        what="compressed (deflate 9)",
        remedy=_smaller(facts)
        + "prune and cluster it (edgepack build MODEL.keras --data DATA --profile P"
        " --recipe prune-cluster-qat)",
    )


def _smaller(facts: Facts) -> str:
    """Return what helps most a model that was never quantized, as the start of a remedy."""
    if not facts.float_ops:
        return ""
    return (
        "quantize it to int8 (edgepack build MODEL.keras --data DATA --profile P"
        " --recipe int8), else "
    )


def peak_ram(facts: Facts, profile: Profile) -> Finding:
    """The planned peak of memory fits into what one model may take."""
    memory = plan_memory(facts, profile)
    parts = ", ".join(f"{what} {format_bytes(size)}" for what, size in memory.parts)
    names = ", ".join(memory.unmeasured)
    says = f"peak ({parts}) {memory.total:,} B"
    limit = ram_limit(profile)
    remedy = _smaller(facts) + "smaller input or fewer channels in the largest layers"
    interpreter = dict(memory.parts).get("interpreter", 0)
    if limit.value is not None and interpreter > limit.value:
        remedy = f"the interpreter alone takes more than {limit.key}: a larger budget"
    return range_at_most(
        "peak_ram",
        memory.total,
        math.inf if names else memory.total,  # what is guessed may need any amount more
        limit,
        "B",
        how=How.PLANNED,
        value=memory.total,
        says=f"{says} and unmeasured kernel data of {names}" if names else says,
        decide="edgepack bundle MODEL.tflite --data DATA --profile P --micro tflm runs it under"
        " TFLM",
        remedy=remedy,
    )


def operators(facts: Facts, profile: Profile) -> Finding:
    """The runtime has every operator, with a kernel that computes these dtypes right."""
    kinds = ("missing", "dtype", "wrong", "unknown")
    found = [t for t in _incompatible_operators(facts, profile) if t.kind in kinds]
    names = {op.name for op in facts.ops}
    good = f"all {len(names)} operators have kernels in {_runtime(profile)}"
    return _told("operators", found, good)


def operator_versions(facts: Facts, profile: Profile) -> Finding:
    """The runtime takes the version of every operator that the file lists."""
    found = [t for t in _incompatible_operators(facts, profile) if t.kind == "version"]
    good = "every version is taken"
    if profile.runtime.name == "tflm":
        good = "TFLM looks at dtypes, not at versions"
    elif facts.min_runtime_version:
        good += f" (the converter asks for {facts.min_runtime_version})"
    return _told("operator_versions", found, good)


def dtype(facts: Facts, profile: Profile) -> Finding:
    """Nothing computes in float, where integers alone are promised.

    Microcontrollers and NPUs get integer models only: there a float operator fails, unless
    it merely converts float32 at the model's ends, which TFLM and the generated C do; what
    that costs is said. A CPU runs both: there it passes, with a remark.
    """
    ends = [t for t in (*facts.inputs, *facts.outputs) if t.dtype in FLOATS]
    ops = facts.float_ops
    spoken = sorted({op.name for op in ops})
    if not ends and not ops:
        kinds = sorted({t.dtype for t in (*facts.inputs, *facts.outputs)})
        return _finding("dtype", Outcome.PASS, f"no float operator; ends are {'/'.join(kinds)}")
    remedy = "set converter.inference_input_type and inference_output_type to tf.int8"
    converts = [op for op in ops if _converts_an_end(op, facts)]
    if ops and len(converts) == len(ops) and all(t.dtype == "float32" for t in ends):
        says = (
            f"computes in integers; float32 at the ends only ({', '.join(map(_end, ends))}): "
            f"{_few([op.name for op in ops])} and {sum(t.nbytes for t in ends):,} B of "
            f"buffers, {sum(t.elements for t in ends):,} B as bytes"
        )
        if profile.kind in INTEGER_KINDS:
            says += f"; to save them {remedy}"
        return _finding("dtype", Outcome.PASS, says)
    says = f"{len(ops)} of {len(facts.ops)} operators compute in float ({_few(spoken)})"
    if ends:
        says += f"; {', '.join(_end(t) for t in ends[:2])}"
    if profile.kind not in INTEGER_KINDS:
        return _finding("dtype", Outcome.PASS, f"{says}; the CPU runs float")
    says += f"; {remedy}, give a representative_dataset and only TFLITE_BUILTINS_INT8"
    return _finding("dtype", Outcome.FAIL, says)


def _converts_an_end(op: Op, facts: Facts) -> bool:
    """Return whether an operator makes codes of a float input, or a float output of codes."""
    if op.subgraph != facts.main.index or not op.inputs or not op.outputs:
        return False
    if op.name == "QUANTIZE":
        return op.inputs[0] in facts.main.inputs
    return op.name == "DEQUANTIZE" and op.outputs[0] in facts.main.outputs


def signature(facts: Facts, profile: Profile) -> Finding:
    """One input, one output, batch 1, and no dimension left open but the batch."""
    faults = []
    for what, ends in (("input", facts.inputs), ("output", facts.outputs)):
        if len(ends) != 1:
            faults.append(f"{len(ends)} {what}s (wanted one)")
        faults += [f"{what} {_end(t)} is open" for t in ends if _open(t)]
        faults += [
            f"{what} {_end(t)} has batch {t.shape[0]}"
            for t in ends[:1]
            if len(t.shape) > 1 and t.shape[0] != 1
        ]
    if faults:
        says = "; ".join(faults) + f"; {_FIXED_BATCH} and one input and output"
        return _finding("signature", Outcome.FAIL, says)
    first, last = facts.inputs[0], facts.outputs[0]
    says = f"{_end(first)} to {_end(last)}"
    if not first.static or not last.static:
        says += f"; the batch is left open and stored as 1: {_FIXED_BATCH}"
    return _finding("signature", Outcome.PASS, says)


def delegation(facts: Facts, profile: Profile, asked: Delegate) -> Finding:
    """The accelerator takes the whole model, where the profile says it must."""
    found = delegate(facts, asked, profile.runtime)
    share = round(found.share_left, 4)
    verdict = Outcome.FAIL if found.left and asked.required else Outcome.PASS
    return Finding(
        gate=f"delegate:{asked.name}",
        verdict=verdict,
        how=How.PLANNED,
        value=share,
        limit=0.0 if asked.required else None,
        unit="share",
        says=_fallback(found, asked),
    )


class Gate(Protocol):
    """A static gate: pure, and called by the name that its finding has."""

    __name__: str

    def __call__(self, facts: Facts, profile: Profile, /) -> Finding: ...


#: Extending: a static gate is one function, called as its finding is, and one row here.
GATES: tuple[Gate, ...] = (
    storage, download, peak_ram, operators, operator_versions, dtype, signature,
)  # fmt: skip


def asked_gates(profile: Profile) -> tuple[Gate, ...]:
    """Return the gates of a device; without a download budget there is no ``download``."""
    return tuple(g for g in GATES if g is not download or profile.storage.download_budget)


def judge(facts: Facts, profile: Profile) -> Verdict:
    """Return what every gate of the device finds."""
    found = [gate(facts, profile) for gate in asked_gates(profile)]
    found += [delegation(facts, profile, one) for one in profile.delegates]
    return Verdict(tuple(found))


def check(model: bytes, profile: Profile) -> tuple[Facts, Verdict]:
    """Return what a .tflite holds and what every static gate says about it.

    Raises:
        InputError: the bytes are no undamaged .tflite.
    """
    facts = flatbuffer.read(model)
    return facts, judge(facts, profile)


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A device that no gate refuses.

    Attributes:
        verdict: PASS, or INCONCLUSIVE where a gate lacks a figure; never FAIL.
        tightness: each gate that compares a number with an upper limit, as
            ``(share of the limit used, finding)``, the tightest first.
    """

    profile: Profile
    verdict: Verdict
    tightness: tuple[tuple[float, Finding], ...]

    @property
    def tightest(self) -> Finding | None:
        """The gate with the least room; None where no gate compares numbers."""
        return self.tightness[0][1] if self.tightness else None

    @property
    def share(self) -> float:
        """The share of its limit that the tightest gate uses; 0 where there is none."""
        return self.tightness[0][0] if self.tightness else 0.0

    @property
    def open_gates(self) -> tuple[str, ...]:
        """The gates that could not be answered, because the profile lacks their figure."""
        return tuple(one.gate for one in self.verdict.named(Outcome.INCONCLUSIVE))

    @property
    def says(self) -> str:
        """Return the suggestion as one line."""
        tightest = self.tightest
        room = (
            f"{tightest.gate} at {self.share:.0%}: {tightest.says}"
            if tightest
            else "no gate compares a number"
        )
        open_ = f"; inconclusive: {', '.join(self.open_gates)}" if self.open_gates else ""
        return f"{self.profile.name}: {room}{open_}"

    def as_json(self) -> dict[str, Any]:
        """Return the suggestion for ``--json``."""
        return {
            "profile": self.profile.name,
            "title": self.profile.title,
            "verdict": self.verdict.outcome.value,
            "tightest": self.tightest.as_json() if self.tightest else None,
            "share": round(self.share, 6),
            "gates": [
                {"gate": finding.gate, "share": round(share, 6)}
                for share, finding in self.tightness
            ],
            "open": list(self.open_gates),
        }


def suggest(
    facts: F, profiles: Iterable[Profile], judge: Callable[[F, Profile], Verdict]
) -> tuple[Suggestion, ...]:
    """Return every device that ``judge`` does not refuse, the tightest fit first.

    The first is the smallest device that still takes the model. A device whose gates are
    partly open is among them and says which; devices of equal tightness are in name order.
    """
    fitting = []
    for profile in profiles:
        verdict = judge(facts, profile)
        if verdict.outcome is not Outcome.FAIL:
            fitting.append(Suggestion(profile, verdict, _tightness(verdict)))
    return tuple(sorted(fitting, key=lambda one: (-one.share, one.profile.name)))


def _tightness(verdict: Verdict) -> tuple[tuple[float, Finding], ...]:
    shares = [
        (finding.value / finding.limit, finding)
        for finding in verdict.findings
        if isinstance(finding.value, int | float)
        and isinstance(finding.limit, int | float)
        and finding.limit > 0
    ]
    return tuple(sorted(shares, key=lambda pair: -pair[0]))


def _incompatible_operators(facts: Facts, profile: Profile) -> list[IncompatibleOperator]:
    custom: set[str] = set()
    for asked in profile.delegates:
        key = "ethos-u55" if asked.name.startswith("ethos-u") else str(asked.name)
        custom |= set(support_tables().get(key, {}).get("custom", ()))
    return incompatible_operators(facts, profile.runtime, frozenset(custom))


def _told(gate: str, found: list[IncompatibleOperator], good: str) -> Finding:
    if not found:
        return _finding(gate, Outcome.PASS, good)
    sure = [one for one in found if one.kind != "unknown"]
    says = "; ".join(
        one.says + (f" — {one.remedy}" if one.remedy else "") for one in (sure or found)[:4]
    )
    if len(sure or found) > 4:
        says += f"; and {len(sure or found) - 4} more"
    if not any(one.remedy for one in (sure or found)[:4]):
        says += f"; {_REPLACE if sure else _MEASURED}"
    return _finding(gate, Outcome.FAIL if sure else Outcome.INCONCLUSIVE, says)


def _fallback(found: Delegation, asked: Delegate) -> str:
    """Return what the accelerator takes, what not and why, and whether that matters."""
    whole = len(found.taken) + len(found.left)
    if not found.left:
        return f"{asked.name} takes all {whole} operators [{found.source}]"
    says = f"{asked.name} takes {len(found.taken) or 'none'} of {whole} operators"
    says += f"; {found.share_left:.1%} of the work stays with the runtime's own CPU kernels"
    if asked.required:
        says += ", but the profile requires the accelerator"
    else:
        says += ": for information, the profile requires no accelerator"
    reasons: dict[str, list[str]] = {}
    for op, why in found.left:
        reasons.setdefault(why, []).append(op.name)
    grouped = [f"{_few(names, 6)} ({why})" for why, names in reasons.items()]
    says += f"; not taken: {'; '.join(grouped[:4])}"
    if len(grouped) > 4:
        says += f"; and {len(grouped) - 4} more reasons"
    if asked.required:
        says += f"; {_REPLACE}"
    return f"{says} [{found.source}]"


def _few(items: Iterable[str], most: int = 4) -> str:
    counted: dict[str, int] = {}
    for item in items:
        counted[item] = counted.get(item, 0) + 1
    spoken = [f"{n} x {item}" if n > 1 else item for item, n in counted.items()]
    more = f" and {len(spoken) - most} more" if len(spoken) > most else ""
    return ", ".join(spoken[:most]) + more


def _open(tensor: Tensor) -> bool:
    return any(size < 0 for size in tensor.signature[1:])


def _end(tensor: Tensor) -> str:
    return f"{tensor.dtype}{list(tensor.signature)}"


def _runtime(profile: Profile) -> str:
    return f"{profile.runtime.name} {profile.runtime.version}"


def _finding(gate: str, verdict: Outcome, says: str) -> Finding:
    return Finding(gate=gate, verdict=verdict, says=says)

"""Planned peak RAM of one model on one device: which part takes how much, and why.

Planned, that is computed from the file; no runtime runs. It is meant never to be under
what the runtime needs (tests hold it against TFLM's true minimum and TensorFlow Lite's own
arena), and says what it leaves out: code, stack, and the application.
"""

from __future__ import annotations

from dataclasses import dataclass

from edgepack.compat.delegates import by_xnnpack, device_kernels
from edgepack.planning.ruy import packing_bytes
from edgepack.planning.tflite import plan
from edgepack.planning.tflm import BITS_32, X86_64, Abi, plan_arena
from edgepack.planning.vendor_scratch import Vendor, vendor_kernels
from edgepack.planning.xnnpack import kept_bytes, workspace_bytes
from edgepack.profiles.profile import Profile
from edgepack.tflite.facts import Facts
from edgepack.tflite.per_facts import per_facts

#: Interpreter, tensors and nodes of TensorFlow Lite on the heap: measured with mallinfo2
#: on 20 models (tflite-runtime 2.14, LiteRT 2.3, x86-64), rounded up.
INTERPRETER_BYTES = 132_000
BYTES_A_PART = 900
#: Scale and zero point of a tensor, multiplier and shift of the kernel that uses it.
BYTES_A_SCALE = 16


@dataclass(frozen=True, slots=True)
class PlannedMemory:
    """Planned bytes.

    Attributes:
        total: the sum of ``parts``.
        parts: (what, bytes), largest first.
        unmeasured: operators whose kernel data are a guess: the total may then be under.
    """

    total: int
    parts: tuple[tuple[str, int], ...]
    unmeasured: tuple[str, ...] = ()


def plan_memory(facts: Facts, profile: Profile) -> PlannedMemory:
    """Return the planned peak RAM of one inference, for the runtime that is judged."""
    if profile.runtime.name == "tflm":
        wide = profile.cpu.isa in ("amd64", "arm64", "riscv64")
        vendor = vendor_kernels(profile.runtime.kernels, profile.cpu)
        return _micro(facts, X86_64 if wide else BITS_32, vendor)
    applied = device_kernels(profile) == "default"  # as the sandbox's gate runs it
    taken = by_xnnpack(facts, profile.runtime).taken if applied else frozenset()
    older = profile.runtime.name == "tflite"
    return _mobile(facts, taken, older)


@per_facts
def _micro(facts: Facts, abi: Abi, vendor: Vendor | None) -> PlannedMemory:
    """TFLM reads weights where they lie in flash: RAM is the arena alone.

    Firmware reserves no less than the reference kernels take on a 64-bit machine, where
    its goldens are answered; on a smaller core that leaves room.
    """
    arena = plan_arena(facts, abi, vendor)
    reference = plan_arena(facts, X86_64)
    parts = (
        ("activations and scratch", arena.plan),
        ("structures, kernel data and variables", arena.persistent),
        ("only while starting", arena.starting),
        ("room for 64-bit structures", max(0, reference.total - arena.total)),
    )
    return _told(parts, arena.unmeasured)


@per_facts
def _mobile(facts: Facts, taken: frozenset[int], older: bool) -> PlannedMemory:
    """Everything the process holds for the model, the file's own pages included.

    Addresses count 8 bytes on a 32-bit core too: the stand-in in which the budget is tested
    is a 64-bit machine.

    Args:
        taken: operators of the main graph that XNNPACK executes.
        older: whether the runtime is TensorFlow Lite, measured in 2.14, and not LiteRT.
    """
    planned = plan(facts, taken)
    count = sum(len(graph.tensors) + len(graph.ops) for graph in facts.subgraphs)
    scales = sum(
        len(tensor.quantization.scales)
        for graph in facts.subgraphs
        for tensor in graph.tensors
        if tensor.quantization
    )
    parts = (
        ("activations and scratch", planned.arena),
        ("variables and repacked weights", planned.kept),
        ("XNNPACK's activations", workspace_bytes(facts, taken, clamps_apart=not older)),
        ("XNNPACK's weights and tables", kept_bytes(facts, taken, 8, older=older)),
        ("matrix packing", packing_bytes(facts, taken, unpacked_copy=older)),
        ("interpreter", INTERPRETER_BYTES + BYTES_A_PART * count + BYTES_A_SCALE * scales),
        ("the file", facts.flatbuffer_bytes),
    )
    return _told(parts, ())


def _told(parts: tuple[tuple[str, int], ...], unmeasured: tuple[str, ...]) -> PlannedMemory:
    kept = tuple(sorted((p for p in parts if p[1]), key=lambda part: -part[1]))
    return PlannedMemory(sum(size for _, size in kept), kept, unmeasured)

"""The tensor arena that TensorFlow Lite Micro buffers for a model, planned from the file.

The allocator is replayed (tensorflow/lite/micro/micro_allocator.cc and
arena_allocator/single_arena_buffer_allocator.cc): what persists grows down from the tail,
temporaries grow up from the head, and the arena must be as large as the moment when the
two come closest. That moment is often not the end: while the plan is being made, the
planner's own arrays lie in the head. ``arena_used_bytes`` reports the end only and is
then too small to start with.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from edgepack.planning.arena import Buffer, align, place_as_tflm
from edgepack.planning.tflm_kernels import CONVOLUTIONS, REDUCTIONS, KernelMemory, kernel_memory
from edgepack.planning.vendor_scratch import Vendor
from edgepack.tflite.facts import Facts, Op, Subgraph
from edgepack.tflite.per_facts import per_facts

#: MicroArenaBufferAlignment (micro_arena_constants.h).
ALIGNMENT = 16
#: kMaxScratchBuffersPerOp (micro_allocator.cc).
REQUESTS_PER_NODE = 12
#: GreedyMemoryPlanner::per_buffer_size: requirements 16, sorted sizes and ids 8, list
#: entry 12, offset 4.
PLANNER_BYTES = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Abi:
    """Sizes of the runtime's structures on one kind of machine.

    Attributes:
        fixed: allocators, planner and their bookkeeping.
        pointer: also a scratch buffer's handle.
        tensor: TfLiteTensor; eval_tensor: TfLiteEvalTensor; node: NodeAndRegistration.
        quantization: TfLiteAffineQuantization.
        request: ScratchBufferRequest; info: AllocationInfo, while planning.
        subgraph: SubgraphAllocations.
    """

    fixed: int
    pointer: int
    tensor: int
    eval_tensor: int
    node: int
    quantization: int
    request: int
    info: int
    subgraph: int


#: Measured with tflite-micro 0.dev20261023182759, which records its allocations.
X86_64 = Abi(fixed=472, pointer=8, tensor=64, eval_tensor=24, node=64, quantization=24,
             request=16, info=32, subgraph=16)  # fmt: skip
#: From the same headers with 4-byte pointers.
BITS_32 = Abi(fixed=472, pointer=4, tensor=40, eval_tensor=12, node=32, quantization=12,
              request=12, info=24, subgraph=8)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Arena:
    """A planned arena.

    Attributes:
        total: bytes of the arena that suffices, a multiple of 16.
        plan: activations and scratch buffers at their tightest.
        persistent: structures, kernel data and variables.
        starting: bytes that only the start buffers, above plan and persistent.
        unmeasured: operators whose kernel data are a guess.
    """

    total: int
    plan: int
    persistent: int
    starting: int
    unmeasured: tuple[str, ...]


class _Heap:
    """Tail and head of the arena while the allocator is replayed."""

    def __init__(self) -> None:
        self.tail = 0
        self.most = 0

    def persist(self, size: int, step: int = ALIGNMENT) -> None:
        self.tail = align(self.tail + size, step)

    def meet(self, head: int) -> None:
        self.most = max(self.most, self.tail + head)


@per_facts
def plan_arena(facts: Facts, abi: Abi, vendor: Vendor | None = None) -> Arena:
    """Return the arena that a model buffers, on the machine that ``abi`` describes.

    Args:
        vendor: what optimised kernels ask for besides; None for reference kernels.
    """
    nodes = [(op, _with_vendor(op, facts, abi, vendor)) for op in facts.ops]
    heap, requests = _prepared(facts, abi, nodes)
    for graph in facts.subgraphs:
        for tensor in graph.tensors:
            if tensor.variable:
                heap.persist(tensor.nbytes)
    buffers = list(lifetimes(facts, nodes))
    count = sum(len(graph.tensors) for graph in facts.subgraphs) + requests
    planning = abi.request * (requests + REQUESTS_PER_NODE)
    planning = align(planning, 8) + abi.pointer * len(facts.subgraphs) + abi.info * count
    heap.meet(align(planning, ALIGNMENT) + PLANNER_BYTES * len(buffers))
    plan = place_as_tflm(buffers).total_bytes
    heap.meet(plan)
    for ends in (facts.inputs, facts.outputs):
        heap.persist(abi.pointer * len(ends))
        for tensor in ends:
            heap.persist(abi.tensor, 8)
            if tensor.quantization:
                heap.persist(abi.quantization, 8)
                heap.persist(4 + 4 * len(tensor.quantization.scales), 4)
    heap.meet(plan)
    guessed = {op.name for op, kept in nodes if not kept.measured}
    total = align(heap.most, ALIGNMENT)
    return Arena(
        total=total,
        plan=plan,
        persistent=heap.tail,
        starting=total - plan - heap.tail,
        unmeasured=tuple(sorted(guessed)),
    )


def _with_vendor(op: Op, facts: Facts, abi: Abi, vendor: Vendor | None) -> KernelMemory:
    kept = kernel_memory(op, facts, abi.pointer)
    if vendor is None:
        return kept
    more = vendor(op, facts)
    data, *others = kept.persistent or (0,)
    persistent = tuple(size for size in (data + more.data, *others, more.kept) if size)
    scratch = (*kept.scratch, *((more.scratch,) if more.scratch else ()))
    return replace(kept, persistent=persistent, scratch=scratch)


def _prepared(
    facts: Facts, abi: Abi, nodes: list[tuple[Op, KernelMemory]]
) -> tuple[_Heap, int]:
    """Return the arena after every Init and Prepare, and the scratch buffers requested."""
    heap = _Heap()
    heap.persist(abi.fixed, 1)
    heap.persist(abi.subgraph * len(facts.subgraphs), 8)
    for graph in facts.subgraphs:
        heap.persist(abi.eval_tensor * len(graph.tensors), 8)
    for graph in facts.subgraphs:
        heap.persist(abi.node * len(graph.ops), 8)
    for op, kept in nodes:
        heap.persist(kept.builtin, _builtin_alignment(op, kept))
    for _, kept in nodes:
        if kept.persistent:
            heap.persist(kept.persistent[0])
    heap.meet(abi.request * REQUESTS_PER_NODE)
    requests = 0
    for op, kept in nodes:
        for size in kept.persistent[1:]:
            heap.persist(size)
        heap.meet(abi.request * (requests + REQUESTS_PER_NODE) + _temporary(op, facts, abi))
        requests += len(kept.scratch)
    heap.persist(abi.pointer * requests, abi.pointer)
    return heap, requests


def _builtin_alignment(op: Op, kept: KernelMemory) -> int:
    """Return the alignment of a node's parameters: their widest field."""
    if op.name == "FULLY_CONNECTED" or not kept.measured:
        return 8
    return 1 if kept.builtin % 4 else 4


def _temporary(op: Op, facts: Facts, abi: Abi) -> int:
    """Return the head that one node's Prepare uses: it looks at tensors as copies.

    Copies are given back only when the node is done. Convolutions look twice, but at the
    bias once (conv_common.cc); reductions look twice (reduce_common.cc).
    """
    again = op.name in REDUCTIONS or op.name in CONVOLUTIONS
    size = 0
    bias = -1 if op.name in REDUCTIONS else 3 if op.name == "TRANSPOSE_CONV" else 2
    for slot, tensor in enumerate((*facts.feeds(op), *facts.yields(op))):
        if tensor is None:
            continue
        once = abi.tensor
        if tensor.quantization:
            once += abi.quantization + align(4 + 4 * len(tensor.quantization.scales), 8)
        twice = again and (slot != bias or len(op.inputs) <= bias)
        size += once * (2 if twice else 1)
    return size


def lifetimes(facts: Facts, nodes: list[tuple[Op, KernelMemory]]) -> Iterable[Buffer]:
    """Yield every planned buffer: tensors without values in the file, then scratch.

    As micro_allocation_info.cc marks them: each operator is one step, and the subgraphs
    that it calls are run within its step.
    """
    marks = _Marks(facts, {id(op): kept for op, kept in nodes})
    marks.run(facts.main)
    offline = facts.offline_plan
    for graph in facts.subgraphs:
        for tensor in graph.tensors:
            if tensor.constant or tensor.variable or not tensor.nbytes:
                continue
            first, last = marks.seen.get((graph.index, tensor.index), (-1, -1))
            fixed = offline[tensor.index] if tensor.index < len(offline) else -1
            size = align(tensor.nbytes, ALIGNMENT)
            yield Buffer(size, first, last, fixed if fixed >= 0 else None)
    yield from marks.scratch


class _Marks:
    """First and last step of every tensor, found by walking the graph as it runs."""

    def __init__(self, facts: Facts, kept: dict[int, KernelMemory]) -> None:
        self.facts, self.kept = facts, kept
        self.seen: dict[tuple[int, int], tuple[int, int]] = {}
        self.scratch: list[Buffer] = []
        self.step = 0
        self._running: set[int] = set()

    def _touch(self, graph: Subgraph, index: int, *, made: bool) -> None:
        first = self.step if made else self.seen.get((graph.index, index), (-1, -1))[0]
        self.seen[graph.index, index] = (first, self.step)

    def run(self, graph: Subgraph) -> None:
        if graph.index in self._running:
            return  # a graph that calls itself: no runtime starts it
        self._running.add(graph.index)
        for index in (*graph.inputs, *graph.outputs):
            self._touch(graph, index, made=True)
        for op in graph.ops:
            self.step += 1
            for index in op.outputs:
                self._touch(graph, index, made=True)
            start = self.step
            for key in ("then", "else", "init", "cond", "body"):
                callee = op.options.get(f"{key}_subgraph_index")
                if callee is not None:
                    self.step += 1
                    self.run(self.facts.subgraphs[callee])
            for index in (*op.inputs, *op.outputs):
                if index >= 0:
                    self._touch(graph, index, made=False)
            for size in self.kept[id(op)].scratch:
                self.scratch.append(Buffer(align(size, ALIGNMENT), start, self.step))
        for index in graph.outputs:
            self._touch(graph, index, made=False)
        self._running.discard(graph.index)

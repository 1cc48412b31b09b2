"""What firmware reserves is what is planned, on every microcontroller of the catalogue."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from edgepack.firmware import tflm_arena
from edgepack.firmware.tflm_arena import HostMinimum
from edgepack.gates import firmware
from edgepack.gates.finding import Finding, Outcome
from edgepack.gates.static import peak_ram
from edgepack.planning.peak import plan_memory
from edgepack.profiles import catalogue
from edgepack.profiles.profile import Profile
from edgepack.tflite.flatbuffer import read

pytestmark = pytest.mark.tools
pytest.importorskip("tflite_micro", reason="pip install 'edgepack[micro]'")
TINY = {
    "autoencoder": "anomaly_detection/ad01_int8.tflite",
    "resnet8": "image_classification/pretrainedResnet_quant.tflite",
    "ds-cnn": "keyword_spotting/kws_ref_model.tflite",
    "wakeword": "streaming_wakeword/str_ww_ref_model.tflite",
    "mobilenet": "visual_wake_words/vww_96_int8.tflite",
}


@cache  # seconds each: the search for the smallest arena does not ask the device
def tried(path: Path) -> HostMinimum:
    return tflm_arena.minimum(path.read_bytes())


def boards() -> tuple[Profile, ...]:
    found, _ = catalogue.load_usable()
    return tuple(p for p in found if p.runtime.name == "tflm" and p.npu is None)


@pytest.mark.parametrize("name", TINY)
def test_what_is_shipped_is_never_below_the_plan_nor_the_smallest_that_ran(
    name: str, shared_data: Callable[[str], Path]
) -> None:
    path = shared_data(f"mlperf_tiny/{TINY[name]}")
    model, smallest = path.read_bytes(), tried(path)
    assert len(boards()) > 3
    for board in boards():
        shipped = tflm_arena.reserved(model, board, smallest).needed_bytes
        assert shipped >= smallest.arena_bytes
        assert shipped == plan_memory(read(model), board).total, board.name


@pytest.mark.parametrize("name", TINY)
def test_the_gates_of_plan_and_firmware_never_contradict(
    name: str, shared_data: Callable[[str], Path]
) -> None:
    path = shared_data(f"mlperf_tiny/{TINY[name]}")
    model, smallest = path.read_bytes(), tried(path)
    for board in boards():
        planned: Finding = peak_ram(read(model), board)
        arena = tflm_arena.reserved(model, board, smallest)
        shipped = firmware.tflm_memory(len(model), arena, board)[0]
        assert planned.value == shipped.value
        if planned.limit == shipped.limit:
            assert planned.verdict is shipped.verdict, board.name
        assert {planned.verdict, shipped.verdict} != {Outcome.PASS, Outcome.FAIL}


@pytest.mark.parametrize(
    ("board", "name"),
    [("esp32-s3", "ds-cnn"), ("esp32-s3", "mobilenet"), ("ek-ra8d1", "wakeword")],
)
def test_scratch_takes_part_in_the_packing(
    board: str, name: str, shared_data: Callable[[str], Path]
) -> None:
    """It lives during its operator only: the sum of all is never reserved."""
    facts = read(shared_data(f"mlperf_tiny/{TINY[name]}").read_bytes())
    profile = catalogue.load(board)
    from edgepack.planning.vendor_scratch import vendor_kernels

    vendor = vendor_kernels(profile.runtime.kernels, profile.cpu)
    assert vendor is not None
    scratch = [vendor(op, facts).scratch for op in facts.ops]
    plan = dict(plan_memory(facts, profile).parts)["activations and scratch"]
    assert max(scratch) <= plan < max(t.nbytes for t in facts.main.tensors) + sum(scratch)

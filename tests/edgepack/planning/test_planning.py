"""Planned memory is never under what the runtimes take, and close above it."""

from __future__ import annotations

import platform
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from edgepack.compat.delegates import by_xnnpack
from edgepack.planning.arena import Buffer, align, place_as_xnnpack
from edgepack.planning.peak import plan_memory
from edgepack.planning.ruy import packing_bytes
from edgepack.planning.tflite import execution_plan, plan
from edgepack.planning.tflm import BITS_32, X86_64, plan_arena
from edgepack.planning.vendor_scratch import CmsisNn
from edgepack.planning.xnnpack import workspace_bytes
from edgepack.profiles.profile import CarriedRuntime, Profile
from edgepack.tflite.flatbuffer import read
from tests.edgepack.asking import ask
from tests.edgepack.networks import NETWORKS, residual, separable
from tests.edgepack.opzoo import cases
from tests.edgepack.tinymodels import Net

#: What TFLM runs of other people's files: the rest is uint8 or hybrid.
MICRO = (
    "mlperf_tiny/anomaly_detection/ad01_fp32.tflite",
    "mlperf_tiny/anomaly_detection/ad01_int8.tflite",
    "mlperf_tiny/image_classification/pretrainedResnet.tflite",
    "mlperf_tiny/image_classification/pretrainedResnet_large_int8.tflite",
    "mlperf_tiny/image_classification/pretrainedResnet_quant.tflite",
    "mlperf_tiny/keyword_spotting/kws_ref_model.tflite",
    "mlperf_tiny/streaming_wakeword/str_ww_ref_model.tflite",
    "mlperf_tiny/visual_wake_words/vww_96_float.tflite",
    "mlperf_tiny/visual_wake_words/vww_96_int8.tflite",
    "third_party_models/mltk/autoencoder_example/autoencoder_example.tflite",
    "third_party_models/mltk/image_classification/image_classification.tflite",
    "third_party_models/mltk/keyword_spotting/keyword_spotting.tflite",
    "third_party_models/mltk/tflite_micro_magic_wand/tflite_micro_magic_wand.tflite",
    "third_party_models/tflm/hello_world_float.tflite",
    "third_party_models/tflm/hello_world_int8.tflite",
    "third_party_models/tflm/micro_speech_quantized.tflite",
    "third_party_models/tflm/trained_lstm_int8.tflite",
)


def device(runtime: str, **more: Any) -> Profile:
    version = {"tflm": "0.dev20261023182759", "litert": "2.3.0", "tflite": "2.14.0"}[runtime]
    kernels = more.pop("kernels", "builtin")
    cpu = {"isa": "armv7e-m", "cores": [{"name": "M4", "count": 1, "source": "test"}]}
    return Profile.model_validate(
        {
            "schema": 1,
            "name": "device",
            "title": "Device",
            "kind": "mcu",
            "cpu": more.pop("cpu", cpu),
            "runtimes": [
                {"name": runtime, "version": version, "kernels": kernels, "source": "test"}
            ],
            "accuracy": {"max_drop": {"value": 0.01, "source": "test"}},
            **more,
        }
    )


def check_arenas(models: dict[str, bytes], folder: Path) -> None:
    """Assert that each planned arena starts, and that 5 % less does not."""
    asked = {}
    for name, model in models.items():
        planned = plan_arena(read(model), X86_64).total
        under = align(int(planned / 1.05) - 16, 16)
        asked[name] = (planned, under)
    questions = [(name, model, asked[name]) for name, model in models.items()]
    answers = ask("arena", "tflm", questions, folder)
    assert {name: says[0] for name, says in answers.items()} == dict.fromkeys(models, "ok")
    loose = {name: asked[name] for name, says in answers.items() if says[1] == "ok"}
    assert not loose, "planned more than 5 % above what suffices"


@pytest.mark.tools
def test_tflm_arenas_of_networks_suffice_and_are_tight(tmp_path: Path) -> None:
    check_arenas({name: make() for name, make in NETWORKS.items()}, tmp_path)


@pytest.mark.tools
def test_tflm_arenas_of_other_peoples_models_suffice_and_are_tight(
    tmp_path: Path, shared_data: Callable[[str], Path]
) -> None:
    check_arenas({name: shared_data(name).read_bytes() for name in MICRO}, tmp_path)


@pytest.mark.tools
def test_tflm_arenas_of_single_operators_suffice_and_are_tight(tmp_path: Path) -> None:
    models = {str(case): case.model for case in cases() if case.dtype in ("float32", "int8")}
    keys = [(name, model, (1 << 20,)) for name, model in models.items()]
    runs = {
        name for name, says in ask("arena", "tflm", keys, tmp_path).items() if says == ["ok"]
    }
    assert len(runs) > 120
    check_arenas({name: model for name, model in models.items() if name in runs}, tmp_path)


@pytest.mark.parametrize(
    ("name", "used"),
    [
        ("mlperf_tiny/image_classification/pretrainedResnet_quant.tflite", 54_420),
        ("mlperf_tiny/keyword_spotting/kws_ref_model.tflite", 22_852),
        ("mlperf_tiny/visual_wake_words/vww_96_int8.tflite", 100_676),
    ],
)
def test_a_cortex_m4_uses_no_more_than_planned_and_not_much_less(
    shared_data: Callable[[str], Path], name: str, used: int
) -> None:
    """``used``: arena_used_bytes of TFLM built for a Cortex-M4, run under QEMU."""
    planned = plan_arena(read(shared_data(name).read_bytes()), BITS_32).total
    assert used <= planned <= used * 1.05


@pytest.mark.parametrize(
    ("name", "used"),
    [
        ("mlperf_tiny/image_classification/pretrainedResnet_quant.tflite", 55_076),
        ("mlperf_tiny/keyword_spotting/kws_ref_model.tflite", 22_900),
        ("mlperf_tiny/visual_wake_words/vww_96_int8.tflite", 100_724),
    ],
)
def test_a_cortex_m4_with_cmsis_nn_needs_no_more_than_planned_and_not_much_less(
    shared_data: Callable[[str], Path], name: str, used: int
) -> None:
    """``used``: arena_used_bytes of TFLM with CMSIS-NN, for a Cortex-M4 under QEMU."""
    facts = read(shared_data(name).read_bytes())
    planned = plan_arena(facts, BITS_32, CmsisNn(helium=False, dsp=True)).total
    assert used <= planned <= used * 1.05


@pytest.mark.tools
@pytest.mark.parametrize("line", ["litert", "tflite"])
def test_tensorflow_lites_arena_is_no_longer_than_planned(line: str, tmp_path: Path) -> None:
    check_reach(line, {name: make() for name, make in NETWORKS.items()}, tmp_path)


@pytest.mark.tools
@pytest.mark.parametrize("line", ["litert", "tflite"])
def test_tensorflow_lites_arena_of_other_peoples_models_is_no_longer_than_planned(
    line: str, tmp_path: Path, shared_data: Callable[[str], Path]
) -> None:
    folders = (shared_data("mlperf_tiny"), shared_data("third_party_models"))
    files = [path for folder in folders for path in folder.rglob("*.tflite")]
    check_reach(line, {str(path): path.read_bytes() for path in files}, tmp_path)


def check_reach(line: str, models: dict[str, bytes], folder: Path) -> None:
    questions = []
    for name, model in models.items():
        tensors = read(model).main.tensors
        mine = [t.index for t in tensors if not t.constant and not t.variable and t.nbytes]
        questions.append((name, model, mine))
    answers = ask("reach", line, questions, folder)
    for name, model in models.items():
        planned = plan(read(model))
        assert 0 < answers[name] <= planned.arena + planned.kept, name


@pytest.mark.tools
@pytest.mark.parametrize("delegates", [(), ({"name": "xnnpack", "source": "test"},)])
def test_a_tablets_process_takes_no_more_than_planned(
    delegates: tuple[dict[str, str], ...], tmp_path: Path, shared_data: Callable[[str], Path]
) -> None:
    """All that LiteRT allocates on the heap for a model and one inference (mallinfo2)."""
    if platform.libc_ver()[0] != "glibc":
        pytest.skip("mallinfo2 is glibc's")
    folders = (shared_data("mlperf_tiny"), shared_data("third_party_models"))
    files = [path for folder in folders for path in folder.rglob("*.tflite")]
    models = {str(path): path.read_bytes() for path in files}
    models |= {name: make() for name, make in NETWORKS.items()}
    cpu = {"isa": "arm64", "cores": [{"name": "A53", "count": 4, "source": "test"}]}
    tablet = device("litert", kind="tablet", cpu=cpu, delegates=delegates)
    questions = [(name, model, not delegates) for name, model in models.items()]
    answers = ask("heap", "litert", [questions[0], *questions], tmp_path)
    for name, model in models.items():
        memory = plan_memory(read(model), tablet)
        planned = memory.total - dict(memory.parts)["the file"]
        assert answers[name] <= planned, name


def test_vendor_kernels_ask_for_more_and_helium_for_most() -> None:
    facts = read(separable(16, 48, 6))
    ways = (None, CmsisNn(helium=False, dsp=True), CmsisNn(helium=True, dsp=True))
    plain, fast, helium = (plan_arena(facts, BITS_32, way).total for way in ways)
    assert plain < fast < helium
    core = {"name": "Cortex-M55", "count": 1, "source": "test"}
    cpu = {"isa": "armv8.1-m", "cores": [core], "features": ["dsp", "helium"]}
    assert plan_memory(facts, device("tflm", kernels="cmsis-nn", cpu=cpu)).total == helium


def test_an_arena_is_never_below_what_reference_kernels_take_on_the_host() -> None:
    facts = read(separable(16, 48, 6))
    memory = plan_memory(facts, device("tflm"))
    assert memory.total == plan_arena(facts, X86_64).total > plan_arena(facts, BITS_32).total
    assert dict(memory.parts)["room for 64-bit structures"] > 0


def test_ds_cnn_with_helium_leaves_the_room_that_it_was_seen_to_need(
    shared_data: Callable[[str], Path],
) -> None:
    """A Cortex-M55 build with CMSIS-NN needed 12.5 % above the x86 minimum of 24,272 B."""
    data = shared_data("mlperf_tiny/keyword_spotting/kws_ref_model.tflite").read_bytes()
    core = {"name": "Cortex-M55", "count": 1, "source": "test"}
    cpu = {"isa": "armv8.1-m", "cores": [core], "features": ["helium"]}
    planned = plan_memory(read(data), device("tflm", kernels="cmsis-nn", cpu=cpu)).total
    assert planned >= 24_272 * 1.125


def test_weights_stay_in_flash_on_a_microcontroller_and_fill_ram_on_a_tablet() -> None:
    facts = read(residual(16, 32))
    cpu = {"isa": "arm64", "cores": [{"name": "A53", "count": 4, "source": "test"}]}
    xnnpack = [{"name": "xnnpack", "source": "test"}]
    micro = plan_memory(facts, device("tflm"))
    plain = plan_memory(facts, device("litert", kind="tablet", cpu=cpu))
    fast = plan_memory(facts, device("litert", kind="tablet", cpu=cpu, delegates=xnnpack))
    assert "the file" not in dict(micro.parts)
    assert dict(plain.parts)["the file"] == facts.flatbuffer_bytes
    weights = sum(kernel.elements for kernel in facts.kernels)
    assert dict(fast.parts)["XNNPACK's weights and tables"] > weights
    for memory in (micro, plain, fast):
        assert memory.total == sum(size for _, size in memory.parts)


def test_an_operator_that_was_not_measured_is_named() -> None:
    net = Net()
    x, y = net.tensor((1, 4)), net.tensor((1, 4))
    net.op("SIGN", [x], [y])
    assert plan_arena(read(net.done([x], [y])), X86_64).unmeasured == ("SIGN",)


def test_xnnpack_reuses_nothing_in_a_chain_of_equal_values() -> None:
    chain = [Buffer(64, step, step + 1) for step in range(5)]
    assert place_as_xnnpack(chain).total_bytes == 5 * 64


@pytest.mark.parametrize(("size", "total"), [(63, 192), (64, 192), (65, 257)])
def test_xnnpack_fills_a_gap_between_two_values_that_live(size: int, total: int) -> None:
    values = [Buffer(64, 0, 4), Buffer(64, 0, 1), Buffer(64, 0, 4), Buffer(size, 4, 4)]
    assert place_as_xnnpack(values).total_bytes == total


@pytest.mark.parametrize(
    ("line", "version", "name", "allocated"),
    [
        ("tflite", "2.14.0", "image_classification/pretrainedResnet.tflite", 262_176),
        ("tflite", "2.14.0", "visual_wake_words/vww_96_float.tflite", 221_216),
        ("litert", "1.4.0", "image_classification/pretrainedResnet.tflite", 360_480),
        ("litert", "1.4.0", "image_classification/pretrainedResnet_quant.tflite", 90_144),
        ("litert", "1.4.0", "visual_wake_words/vww_96_float.tflite", 221_216),
        ("litert", "1.4.0", "visual_wake_words/vww_96_int8.tflite", 55_328),
        ("litert", "1.4.0", "keyword_spotting/kws_ref_model_float32.tflite", 288_416),
    ],
)
def test_xnnpacks_workspace_is_the_one_that_its_release_allocates(
    shared_data: Callable[[str], Path], line: Any, version: str, name: str, allocated: int
) -> None:
    """``allocated``: the block that the amd64 wheel takes from malloc."""
    facts = read(shared_data(f"mlperf_tiny/{name}").read_bytes())
    runtime = CarriedRuntime(name=line, version=version, source="test")
    taken = by_xnnpack(facts, runtime).taken
    planned = workspace_bytes(facts, taken, clamps_apart=line == "litert")
    assert allocated <= planned <= allocated * 1.04


def test_a_delegate_takes_turns_with_what_it_leaves() -> None:
    net = Net()
    tensors = [net.tensor((1, 4)) for _ in range(5)]
    for source, target in pairwise(tensors):
        net.op("ABS", [source], [target])
    graph = read(net.done(tensors[:1], tensors[-1:])).main
    steps = execution_plan(graph, frozenset({0, 1, 3}))
    assert [([op.index for op in ops], together) for ops, together in steps] == [
        ([0, 1], True), ([2], False), ([3], True),
    ]  # fmt: skip


def test_values_inside_a_partition_are_not_in_the_arena() -> None:
    net = Net()
    x, hidden, y = net.tensor((1, 64)), net.tensor((1, 6400)), net.tensor((1, 64))
    net.op("ABS", [x], [hidden])
    net.op("ABS", [hidden], [y])
    facts = read(net.done([x], [y]))
    assert plan(facts).arena >= 6400 + 64
    assert plan(facts, frozenset({0, 1})).arena < 6400
    assert plan(facts, frozenset({0})).arena >= 6400  # a kernel of the runtime reads it


def test_both_sides_of_a_product_are_packed_and_the_first_blocks_stay(
    shared_data: Callable[[str], Path],
) -> None:
    """4 x 4000 weights and one column: two blocks of 65,024 B, then an arena of 130,240 B."""
    name = "third_party_models/tflm/micro_speech_quantized.tflite"
    facts = read(shared_data(name).read_bytes())
    planned = packing_bytes(facts, frozenset(), unpacked_copy=True)
    assert 2 * 65_024 + 130_240 <= planned <= (2 * 65_024 + 130_240) * 1.02
    assert packing_bytes(facts, frozenset(range(len(facts.main.ops))), unpacked_copy=True) == 0

"""A form of storage is offered where its kernels were measured to read it, else refused."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from converters.tflite import tflite_edit
from converters.tflite.blocks import encode
from edgepack.compat import measured_support
from edgepack.compat.weight_forms import FORMS, NOWHERE, gain
from edgepack.profiles import catalogue
from edgepack.profiles.profile import CarriedRuntime, Delegate, Profile
from tests.edgepack.tinymodels import Net

TABLET = catalogue.load("clinic-tablet-1gb-armv7")
BOARD = catalogue.load("nucleo-l4r5zi")
NPU = catalogue.load("corstone-300")


def carrying(profile: Profile, name: str, version: str) -> Profile:
    runtime = CarriedRuntime(name=name, version=version, source="policy: a test")  # type: ignore[arg-type]
    return profile.model_copy(update={"runtimes": (runtime,)})


@pytest.mark.parametrize("release", measured_support.table("versions")["releases"]["tflm"])
def test_int4_is_offered_where_the_release_computes_it_right(release: str) -> None:
    right = measured_support.kernel_status("CONV_2D", "int8+int4", 7, "tflm", release) == "ok"
    assert gain("int4", carrying(BOARD, "tflm", release), "tflm").pays is right


def test_int4_is_refused_where_no_reference_kernel_could_prove_it() -> None:
    assert "nothing could be proven" in gain("int4", TABLET).says
    assert not gain("int4", TABLET).pays
    assert gain("int4", carrying(TABLET, "litert", "1.4.0")).pays


def test_a_board_gains_by_the_route_that_has_kernels() -> None:
    assert gain("int4", BOARD, "tflm").pays
    refused = gain("int4", BOARD, "c")
    assert not refused.pays
    assert "--micro tflm" in refused.says


def test_blocks_pay_on_application_processors_only() -> None:
    assert gain("blocks", TABLET).pays
    assert not gain("blocks", BOARD, "tflm").pays
    assert not gain("blocks", NPU).pays


def test_a_profile_that_needs_xnnpack_whole_is_spared_what_falls_off_it() -> None:
    xnnpack = Delegate(name="xnnpack", required=True, source="policy: a test")
    strict = TABLET.model_copy(update={"delegates": (xnnpack,)})
    for form in ("int4", "blocks"):
        assert "XNNPACK" in gain(form, strict).says
        assert not gain(form, strict).pays


@pytest.mark.parametrize("form", FORMS)
def test_every_built_in_device_has_an_answer_with_a_reason(form: str) -> None:
    for name in catalogue.names():
        for route in ("c", "tflm"):
            found = gain(form, catalogue.load(name), route)
            assert len(found.says) > 20, name


def test_no_int8_kernel_of_this_runtime_reads_blocks_of_1x4() -> None:
    """The reason that ``1x4`` is refused with, asked of the runtime; 1x16 is the control."""
    plain = np.zeros((8, 32), np.int8)
    plain[:, :16] = 3
    rows = np.random.default_rng(0).normal(0, 1, (4, 32)).astype(np.float32)
    wide, narrow = (stored_in_blocks(plain, size) for size in (16, 4))
    assert np.abs(tflite_edit.outputs(wide, rows)).max() > 0
    with pytest.raises(RuntimeError) as refused:
        tflite_edit.outputs(narrow, rows)
    assert "Unsupported sparse fully-connected weight format" in str(refused.value)
    assert "Unsupported sparse fully-connected weight format" in gain("1x4", TABLET).says


def stored_in_blocks(kernel: NDArray[np.int8], block: int) -> bytes:
    """Return one dense layer of ``(outputs, inputs)`` whose file holds no empty block."""
    net = Net(4)
    x = net.tensor((1, kernel.shape[1]))
    model = tflite_edit.parse(net.done([x], [net.dense(x, len(kernel))]))
    (operator,) = model.subgraphs[0].operators
    tensor = model.subgraphs[0].tensors[operator.inputs[1]]
    tflite_edit.hold(model, tensor, kernel.reshape(-1).view(np.uint8))
    encode(model, tensor, block)
    operator.opcodeIndex = tflite_edit.code_of(model, operator.opcodeIndex, 8)
    return tflite_edit.pack(model)


@pytest.mark.parametrize("form", [*NOWHERE, "int16"])
def test_what_no_kernel_gains_from_is_offered_nowhere(form: str) -> None:
    assert not any(gain(form, catalogue.load(name)).pays for name in catalogue.names())

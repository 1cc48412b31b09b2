"""int4 kernels hold what int8 held as nearly as 15 values can, and runtimes agree on them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from converters.errors import ModelRefused
from converters.tflite import narrow, tflite_edit
from converters.tflite.narrow import Narrow
from edgepack.inference.host import HostRuntime
from edgepack.inference.protocol import ExitStatus, Job
from edgepack.inference.tflm import TflmRuntime
from edgepack.tflite.flatbuffer import read
from tests.edgepack.networks import residual
from tests.edgepack.tinymodels import Net

ROWS = np.random.default_rng(1).normal(0, 1, (12, 8, 8, 3)).astype(np.float32)


def unpacked(data: np.ndarray, size: int) -> np.ndarray:
    """Return int4 codes one by one: the format of the schema, low half first."""
    found = []
    for byte in data.tolist():
        for half in (byte & 15, byte >> 4):
            found.append(half - 16 if half > 7 else half)
    return np.array(found[:size], np.int8)


@given(arrays(np.int8, st.integers(1, 33), elements=st.integers(-7, 7)))
def test_two_codes_share_a_byte_and_come_back(codes: np.ndarray) -> None:
    held = narrow.packed(codes)
    assert held.size == (codes.size + 1) // 2
    assert (unpacked(held, codes.size) == codes).all()


@settings(max_examples=50)
@given(arrays(np.int8, (3, 5), elements=st.integers(-127, 127)))
def test_zeros_stay_and_no_weight_moves_further_than_its_clip_asks(codes: np.ndarray) -> None:
    small, factor = narrow.to_codes(codes, axis=0)
    assert (small[codes == 0] == 0).all()
    assert np.abs(small).max(initial=0) <= 7
    plain = np.maximum(np.abs(codes).max(axis=1, keepdims=True), 7) / 7  # no clip at all
    harm = ((small * factor[:, None] - codes) ** 2).sum(1)
    wanted = ((np.rint(codes / plain) * plain - codes.astype(float)) ** 2).sum(1)
    assert (harm <= wanted + 1e-6).all()


def test_at_most_seven_steps_lose_nothing() -> None:
    codes = (np.arange(-7, 8, dtype=np.int8) * 18).reshape(1, 15)
    small, factor = narrow.to_codes(codes, axis=0)
    assert (small[0] == np.arange(-7, 8)).all()
    assert factor[0] == pytest.approx(18)


def test_the_file_shrinks_and_says_which_operators_read_int4() -> None:
    before = residual(8, 8)
    after, (note,) = Narrow(max_error=0.9)(before, ROWS)
    facts = read(after)
    kernels = {op.index: op_kernel for op in facts.main.ops if len(op.inputs) > 2
               and (op_kernel := facts.feed(op, 1)) is not None}  # fmt: skip
    with_kernel = [op for op in facts.main.ops if op.index in kernels]
    narrowed = [op for op in with_kernel if kernels[op.index].dtype == "int4"]
    assert narrowed
    wanted = {"CONV_2D": 7, "FULLY_CONNECTED": 10}
    assert all(op.version == wanted[op.name] for op in narrowed)
    held = {kernel.tensor: kernel for kernel in facts.kernels}
    for op in narrowed:
        kernel = held[kernels[op.index].index]
        assert (kernel.dtype, kernel.distinct) == ("int4", 15)
        assert 0 < kernel.zeros_share < 0.5
    untouched = [op for op in with_kernel if op.name == "CONV_2D" and op not in narrowed]
    assert all(op.version == 3 for op in untouched)
    saved = sum(int(kernels[op.index].elements) // 2 for op in narrowed)
    assert f"in {len(narrowed)} of" in note and f"{saved:,} B less" in note
    assert len(before) - len(after) == pytest.approx(saved, abs=256)


@pytest.mark.tools
def test_tflm_and_litert_answer_alike_and_near_the_int8_file() -> None:
    before = residual(8, 8)
    after, _ = Narrow(max_error=0.3)(before, ROWS)
    rows = np.random.default_rng(2).integers(-128, 128, (8, 8, 8, 3), dtype=np.int8)
    job = Job(model=after, inputs=rows, kernels="reference")
    traces = [HostRuntime().run(job), TflmRuntime().run(job)]
    assert all(trace.status is ExitStatus.OK for trace in traces), [t.says for t in traces]
    one, other = (trace.outputs for trace in traces)
    assert one is not None and other is not None
    assert np.abs(one.astype(int) - other).max() <= 1
    plain = HostRuntime().run(Job(model=before, inputs=rows, kernels="reference")).outputs
    assert plain is not None and (plain != one).any()


def test_the_outputs_stay_as_close_as_asked() -> None:
    before = residual(8, 8)
    answers = tflite_edit.outputs(before, ROWS)
    spread = np.sqrt(np.mean((answers - answers.mean(0)) ** 2))
    sizes = []
    for most in (0.4, 0.6, 0.9):
        after, _ = Narrow(max_error=most)(before, ROWS)
        moved = np.sqrt(np.mean((tflite_edit.outputs(after, ROWS) - answers) ** 2))
        assert moved <= most * spread + 1e-9
        sizes.append(len(after))
    assert sizes == sorted(sizes, reverse=True)


def test_the_same_file_comes_out_twice() -> None:
    once, again = (Narrow(max_error=0.5)(residual(4, 8), ROWS) for _ in range(2))
    assert once == again


def test_a_kernel_that_feeds_anything_else_is_left() -> None:
    net = Net(3)
    x = net.tensor((1, 8, 8, 3))
    kernel = net.weights((4, 8, 8, 3))
    out = net.tensor((4, 8, 8, 3))
    net.op("ADD", [x, kernel], [out], 2, "AddOptions")
    assert narrow.candidates(tflite_edit.parse(net.done([x], [out]))) == {}


def test_what_cannot_be_narrowed_is_refused_with_the_nearest_miss() -> None:
    with pytest.raises(ModelRefused, match=r"at most 1e-06 of their spread \(the best .*raise"):
        Narrow(max_error=1e-6)(residual(4, 8), ROWS)


@pytest.mark.parametrize("wrong", [{"weights": 3}, {"max_error": 0.0}, {"max_error": 1.0}])
def test_settings_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"wanted .*Received"):
        Narrow(**wrong)  # type: ignore[arg-type]

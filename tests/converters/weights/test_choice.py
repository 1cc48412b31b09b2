"""Whole blocks and single weights are chosen by size, and no output loses its last one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from converters.weights import invariants
from converters.weights.choice import (
    blocks_fit,
    each_keeps_one,
    empty_blocks,
    kept,
    least_salient,
)
from edgepack.tflite.inspection import KernelCodes

BLOCK = 16


def dense(inputs: int = 64, outputs: int = 6, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=(inputs, outputs)).astype(np.float32)


def depthwise(channels: int = 5, multiplier: int = 1, seed: int = 0) -> NDArray[np.float32]:
    drawn = np.random.default_rng(seed)
    sizes = 10.0 ** np.arange(channels * multiplier).reshape(channels, multiplier)
    return (drawn.normal(size=(3, 3, channels, multiplier)) * sizes).astype(np.float32)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.75])
def test_a_dense_kernel_loses_whole_blocks_of_inputs_of_one_output(share: float) -> None:
    stays = kept(dense(), share, BLOCK)
    as_stored = stays.T.reshape(6, 4, BLOCK)  # (outputs, blocks, inputs): TensorFlow Lite's
    assert (as_stored.all(-1) | ~as_stored.any(-1)).all()
    assert (~as_stored.any(-1)).sum() == np.ceil(share * 24)


def test_the_blocks_that_go_are_those_of_least_squares() -> None:
    kernel = dense()
    gone = ~kept(kernel, 0.25, BLOCK)[::BLOCK]
    price = (kernel.reshape(4, BLOCK, 6) ** 2).sum(1)
    spared = price.argmax(0)
    others = [price[b, c] for b, c in np.argwhere(~gone) if b != spared[c]]
    assert price[gone].max() <= min(others)


@settings(deadline=None, max_examples=50)
@given(st.floats(0.01, 0.99), st.integers(0, 99), st.integers(1, 3))
def test_no_channel_loses_its_largest_weight(share: float, seed: int, multiplier: int) -> None:
    kernel = depthwise(multiplier=multiplier, seed=seed)
    stays = kept(kernel, share, 1)
    largest = np.abs(kernel).max(axis=(0, 1), keepdims=True)
    assert stays[np.abs(kernel) == largest].all()
    if each_keeps_one(9, share):
        assert (~stays).sum() >= int(share * kernel.size)


def test_small_channels_lose_no_more_than_large_ones() -> None:
    """Their sizes differ by powers of ten, which a normalization takes back."""
    zeros = (~kept(depthwise(channels=4), 0.5, 1)).sum(axis=(0, 1)).ravel()
    assert zeros.sum() == 18
    assert zeros.max() < 9


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_what_went_stays_gone_when_more_goes(share: float) -> None:
    kernel = dense(inputs=256)
    first = kept(kernel, share / 2, BLOCK)
    assert not (kept(kernel * first, share, BLOCK) & ~first).any()


def test_ties_go_to_the_first_and_a_channel_of_zeros_does_not_matter() -> None:
    assert least_salient(np.zeros((3, 1)), 2, spare=False).ravel().tolist() == [
        True,
        True,
        False,
    ]
    assert kept(np.zeros((3, 3, 2, 1)), 0.5, 1).sum() == 9


@pytest.mark.parametrize(
    ("inputs", "share", "fits"),
    [
        (128, 0.5, True),
        (127, 0.5, False),
        (16, 0.5, False),  # one block an output: half the outputs would be gone
        (32, 0.5, True),
        (32, 0.51, False),
    ],
)
def test_blocks_fit_where_every_output_can_keep_one(
    inputs: int, share: float, fits: bool
) -> None:
    assert blocks_fit(inputs, share, BLOCK) is fits


def test_a_share_that_takes_all_but_one_block_leaves_that_one() -> None:
    stays = kept(dense(inputs=1600, outputs=3), 0.99, BLOCK)
    assert stays[::BLOCK].sum(0).tolist() == [1, 1, 1]


def test_a_block_promised_empty_is_counted_and_one_weight_in_it_is_seen() -> None:
    kernel = dense() * kept(dense(), 0.5, BLOCK)
    promises = {"SPARSE": {"d/kernel": 0.5}, "BLOCKED": {"d/kernel": float(BLOCK)}}
    assert empty_blocks(kernel, BLOCK) == 12
    assert invariants.violations({"d/kernel": kernel}, promises) == []
    scattered = kernel.copy()
    scattered[np.nonzero(kernel == 0)[0][0], np.nonzero(kernel == 0)[1][0]] = 1
    scattered[tuple(np.argwhere(kernel != 0)[0])] = 0  # as many zeros, one block fewer
    assert invariants.violations({"d/kernel": scattered}, promises) == [
        "d/kernel: wanted 12 empty blocks of 1x16 of 24. Received: 11"
    ]


@pytest.mark.parametrize(
    ("shape", "broken"), [((6, 64), 0), ((64, 6), 1), ((12, 32), 1)], ids=str
)
def test_another_kernel_of_the_same_size_is_not_taken_for_it(
    shape: tuple[int, int], broken: int
) -> None:
    """An autoencoder has 128 x 8 weights and 8 x 128, and names that the file has lost."""
    codes = (dense() * kept(dense(), 0.5, BLOCK) * 9).astype(np.int8).T
    there = KernelCodes("FULLY_CONNECTED", "lost", codes.reshape(shape), None)
    promises = {"SPARSE": {"d/kernel": 0.5}, "BLOCKED": {"d/kernel": 16.0}}
    assert len(invariants.kernel_violations("d/kernel", there, codes, promises)) == broken


def test_a_kernel_promised_in_blocks_that_is_gone_is_named() -> None:
    promises = {"SPARSE": {"d/kernel": 0.5}, "BLOCKED": {"d/kernel": 16.0}}
    assert all("no such kernel" in line for line in invariants.violations({}, promises))

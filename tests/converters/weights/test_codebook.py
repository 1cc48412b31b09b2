"""A codebook holds what the device needs, is the best one there is, and is its own image."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from converters.weights.codebook import LIMIT, Codebook, fit, project, scales, to_codes

CONV = (3,)  # the channel axis of a Conv2D kernel


def kernel(seed: int = 0, zeros: float = 0.5) -> NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(3, 3, 8, 16)) * rng.uniform(0.1, 3, 16)
    values[np.abs(values) < np.quantile(np.abs(values), zeros)] = 0
    return values.astype(np.float32)


def entropy(codes: NDArray[np.int16]) -> float:
    share = np.unique(codes, return_counts=True)[1] / codes.size
    return float(-(share * np.log2(share)).sum())


@pytest.mark.parametrize("clusters", [3, 4, 16, 255])
@pytest.mark.parametrize("price", [0.0, 50.0])
def test_no_more_codes_than_asked_and_zero_and_both_ends_among_them(
    clusters: int, price: float
) -> None:
    codes = fit(kernel(), CONV, clusters, price).codes
    assert len(codes) <= clusters
    assert {0, LIMIT, -LIMIT} <= set(codes.tolist())
    assert (np.diff(codes) > 0).all()


def test_two_clusters_leave_no_room_for_zero_and_both_ends() -> None:
    with pytest.raises(ValueError, match="3 or more"):
        fit(kernel(), CONV, 2)


def test_no_codebook_drawn_at_random_is_nearer() -> None:
    values = kernel()
    level = (values / scales(values, CONV) * LIMIT).ravel()
    book = fit(values, CONV, 6)
    ours = ((level - book.codes_of(level)) ** 2).mean()
    rng = np.random.default_rng(1)
    for _ in range(300):
        drawn = np.unique([-LIMIT, 0, LIMIT, *rng.integers(-126, 127, 3)])
        apart = np.abs(level[:, None] - drawn[None, :]).min(axis=1)
        assert ours <= (apart**2).mean() + 0.3  # bins are one code wide


def test_a_higher_price_never_buys_more_entropy() -> None:
    values = kernel()
    paid = []
    for price in (0.0, 10.0, 50.0, 200.0):
        book = fit(values, CONV, 16, price)
        level = values / scales(values, CONV) * LIMIT
        paid.append(entropy(book.codes_of(level)))
    assert paid == sorted(paid, reverse=True)
    assert paid[-1] < paid[0]


@settings(deadline=None, max_examples=30)
@given(st.floats(-LIMIT, LIMIT))
def test_one_value_and_an_array_get_the_same_code(value: float) -> None:
    book = fit(kernel(), CONV, 7, 20.0)
    assert book.code_of(value) == book.codes_of(np.array([value]))[0]


@pytest.mark.parametrize("price", [0.0, 55.0, 500.0])
def test_codes_are_their_own_codes(price: float) -> None:
    book = fit(kernel(), CONV, 16, price)
    assert (book.codes_of(book.codes.astype(float)) == book.codes).all()


def test_the_converter_finds_the_codes_again() -> None:
    values = kernel()
    book = fit(values, CONV, 16, 55.0)
    on_codes = project(values, CONV, book)
    level = values / scales(values, CONV) * LIMIT
    assert (to_codes(on_codes, CONV) == book.codes_of(level)).all()
    assert (on_codes[values == 0] == 0).all()


def test_a_channel_of_zeros_stays_zeros() -> None:
    values = kernel()
    values[..., 5] = 0
    assert (project(values, CONV, fit(values, CONV, 8))[..., 5] == 0).all()


def test_an_edge_belongs_to_the_code_below_it() -> None:
    book = Codebook(np.array([-127, 0, 127], np.int16), np.array([-60, 60], np.float32))
    assert [book.code_of(v) for v in (-60.1, -60.0, -59.9)] == [-127, -127, 0]
    assert [book.code_of(v) for v in (59.9, 60.0, 60.1)] == [0, 0, 127]

"""The weights left make up for those removed or rounded, as well as a quadratic allows."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from converters.weights.choice import kept
from converters.weights.least_squares import Quadratic, prune, round_to_codes, solve

INPUTS, CHANNELS = 6, 3


def problem(seed: int = 0, inputs: int = INPUTS) -> tuple[Quadratic, NDArray[np.float64]]:
    """Return a quadratic of correlated rows, and the rows themselves with a 1 last."""
    rng = np.random.default_rng(seed)
    mix = rng.normal(size=(inputs, inputs))
    rows = np.column_stack([rng.normal(size=(400, inputs)) @ mix, np.ones(400)])
    start = rng.normal(size=(inputs + 1, CHANNELS))
    outputs = rows @ start
    second, cross = rows.T @ rows / 400, rows.T @ outputs / 400
    return Quadratic(second, cross, start, np.ones(CHANNELS)), rows


def loss(found: Quadratic, weights: NDArray[np.float64]) -> float:
    """Return the error and the pull that ``solve`` minimises, over all channels."""
    apart = weights - found.start
    error = np.einsum("ic,ij,jc->", weights, found.second, weights)
    return float(error - 2 * (weights * found.cross).sum() + found.pull * (apart**2).sum())


def whole() -> NDArray[np.bool_]:
    return np.ones((INPUTS + 1, CHANNELS), bool)


def test_with_nothing_removed_the_start_is_the_solution() -> None:
    found, _ = problem()
    assert np.allclose(solve(found, whole())[0], found.start)


def test_the_solution_is_the_one_of_least_squares_on_the_rows() -> None:
    found, rows = problem()
    mask = whole()
    mask[0] = mask[3, 1] = False
    weights, _ = solve(found, mask)
    for channel in range(CHANNELS):
        kept = mask[:, channel]
        pulled = np.sqrt(found.pull * len(rows)) * np.eye(kept.sum())
        wanted = np.concatenate(
            [rows @ found.start[:, channel], pulled @ found.start[kept, channel]]
        )
        best = np.linalg.lstsq(np.concatenate([rows[:, kept], pulled]), wanted)[0]
        assert np.allclose(weights[kept, channel], best)
        assert (weights[~kept, channel] == 0).all()


def test_a_price_is_what_removing_that_weight_really_costs() -> None:
    found, _ = problem()
    weights, price = solve(found, whole())
    for at in np.ndindex(INPUTS, CHANNELS):
        without = whole()
        without[at] = False
        rise = loss(found, solve(found, without)[0]) - loss(found, weights)
        assert rise == pytest.approx(price[at], rel=1e-6)
    assert np.isinf(price[-1]).all()


def test_the_first_to_go_is_the_cheapest_of_all() -> None:
    found, _ = problem()
    _, price = solve(found, whole())
    _, mask = prune(found, whole(), 1 / (INPUTS * CHANNELS))
    assert np.argwhere(~mask).tolist() == [list(np.unravel_index(price.argmin(), price.shape))]


@pytest.mark.parametrize(("share", "zeros"), [(0.49, 9), (0.5, 9), (0.51, 10), (0.9, 17)])
def test_the_share_removed_is_exact_and_never_less(share: float, zeros: int) -> None:
    found, _ = problem()
    weights, mask = prune(found, whole(), share)
    assert (weights[:-1] == 0).sum() == (~mask[:-1]).sum() == zeros
    assert mask[-1].all()


def test_pruning_loses_less_than_dropping_the_smallest() -> None:
    for seed in range(5):
        found, _ = problem(seed, inputs=INPUTS)
        size = np.abs(found.start[:-1])
        small = np.concatenate([size > np.median(size), np.ones((1, CHANNELS), bool)])
        dropped = np.where(small, found.start, 0)
        assert loss(found, prune(found, whole(), 0.5)[0]) < loss(found, dropped)


BLOCK = 2


def in_blocks(found: Quadratic, block: int, channel: int) -> NDArray[np.bool_]:
    """Return everything but one block of one channel."""
    mask = whole()
    mask[block * BLOCK : (block + 1) * BLOCK, channel] = False
    return mask


def test_a_blocks_price_is_what_removing_all_of_it_really_costs() -> None:
    found, _ = problem()
    weights, price = solve(found, whole(), BLOCK)
    for block, channel in np.ndindex(INPUTS // BLOCK, CHANNELS):
        without = in_blocks(found, block, channel)
        rise = loss(found, solve(found, without, BLOCK)[0]) - loss(found, weights)
        told = price[block * BLOCK : (block + 1) * BLOCK, channel]
        assert told == pytest.approx(np.full(BLOCK, rise), rel=1e-6)
    assert np.isinf(price[-1]).all()


def test_a_price_holds_among_blocks_that_are_left() -> None:
    found, _ = problem()
    mask = in_blocks(found, 1, 0)
    weights, price = solve(found, mask, BLOCK)
    without = mask & in_blocks(found, 2, 0)
    rise = loss(found, solve(found, without)[0]) - loss(found, weights)
    assert price[4, 0] == pytest.approx(rise, rel=1e-6)
    assert np.isinf(price[2:4, 0]).all()


def test_blocks_of_one_are_single_weights() -> None:
    found, _ = problem()
    single, each = prune(found, whole(), 0.5), prune(found, whole(), 0.5, 1)
    assert all((a == b).all() for a, b in zip(single, each, strict=True))


@pytest.mark.parametrize(("share", "empty"), [(0.3, 3), (0.5, 5), (0.6, 6), (0.66, 6)])
def test_whole_blocks_go_and_every_channel_keeps_one(share: float, empty: int) -> None:
    found, _ = problem()
    weights, mask = prune(found, whole(), share, BLOCK)
    zeros = (weights[:-1] == 0).reshape(-1, BLOCK, CHANNELS)
    assert (zeros.all(1) == zeros.any(1)).all()
    assert zeros.all(1).sum() == empty
    assert (mask[:-1].any(0)).all()
    assert mask[-1].all()


def test_solved_blocks_lose_less_than_the_smallest() -> None:
    """Over all problems: the choice is greedy, and in some of these it makes a poor one."""
    solved, small = [], []
    for seed in range(20):
        found, _ = problem(seed, inputs=12)
        best = loss(found, found.start)
        stays = kept(found.start[:-1], 0.5, BLOCK)
        dropped = found.start * np.concatenate([stays, np.ones((1, CHANNELS), bool)])
        solved.append(loss(found, prune(found, np.ones((13, CHANNELS), bool), 0.5, BLOCK)[0]))
        small.append(loss(found, dropped))
        assert min(solved[-1], small[-1]) > best
    assert np.mean(solved) < np.mean(small)


def test_a_layer_without_bias_gets_none() -> None:
    found, _ = problem()
    mask = whole()
    mask[-1] = False
    weights, after = prune(found, mask, 0.5)
    assert not after[-1].any()
    assert (weights[-1] == 0).all()
    assert (round_to_codes(found, after, np.full(CHANNELS, 0.1), round, 127)[-1] == 0).all()


def test_every_weight_but_the_bias_lands_on_a_code() -> None:
    found, _ = problem()
    _, mask = prune(found, whole(), 0.5)
    sizes = np.array([0.1, 0.2, 0.3])
    weights = round_to_codes(found, mask, sizes, round, 127)
    codes = weights[:-1] / sizes
    assert np.allclose(codes, np.rint(codes))
    assert (weights[:-1][~mask[:-1]] == 0).all()


def test_the_largest_of_a_channel_keeps_the_limit() -> None:
    found, _ = problem()
    exact, _ = solve(found, whole())
    largest = np.abs(exact[:-1]).max(axis=0)
    weights = round_to_codes(
        found, whole(), largest / 127, lambda value: 127 * round(value / 127), 127
    )
    assert np.allclose(np.abs(weights[:-1]).max(axis=0), largest)


def test_making_up_for_rounding_beats_rounding_to_the_nearest() -> None:
    for seed in range(5):
        found, _ = problem(seed)
        size = 0.5
        nearest = found.start.copy()
        nearest[:-1] = np.rint(nearest[:-1] / size) * size
        ours = round_to_codes(found, whole(), np.full(CHANNELS, size), round, 127)
        assert loss(found, ours) < loss(found, nearest)

"""Thin kernels: exact at full rank, best of their rank, and priced as they run."""

from __future__ import annotations

import numpy as np
import pytest

from converters.structure import lowrank_math
from converters.structure.lowrank_math import Split, by_energy, within

RNG = np.random.default_rng(0)


def kernel(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype(np.float32)


@pytest.mark.parametrize(
    ("shape", "method", "ranks"),
    [
        ((12, 20), "svd", (12,)),
        ((1, 1, 12, 20), "svd", (12,)),
        ((3, 5, 4, 6), "spatial", (12,)),
        ((3, 1, 4, 6), "spatial", (6,)),
        pytest.param((3, 3, 4, 6), "tucker", (4, 6), marks=pytest.mark.train),
    ],
)
def test_full_rank_is_exact(
    shape: tuple[int, ...], method: lowrank_math.Method, ranks: tuple[int, ...]
) -> None:
    whole = kernel(*shape)
    parts = lowrank_math.factors(whole, method, ranks)
    assert lowrank_math.error(whole, parts, method) < 1e-12
    assert np.abs(lowrank_math.product(parts, method) - whole).max() < 1e-5


@pytest.mark.parametrize("rank", [1, 5, 11, 12])
def test_svd_loses_the_energy_of_the_singular_values_left_out(rank: int) -> None:
    whole = kernel(12, 20)
    energy = np.linalg.svd(whole.astype(float), compute_uv=False) ** 2
    lost = lowrank_math.error(whole, lowrank_math.factors(whole, "svd", (rank,)), "svd")
    assert lost == pytest.approx(energy[rank:].sum() / energy.sum(), abs=1e-6)


def test_a_separable_kernel_splits_into_its_two_halves() -> None:
    column, line = kernel(3, 4), kernel(5, 6)
    whole = np.einsum("hi,wo->hwio", column, line)
    assert (
        lowrank_math.error(whole, lowrank_math.factors(whole, "spatial", (1,)), "spatial")
        < 1e-10
    )


@pytest.mark.train
def test_tucker_finds_a_kernel_of_few_channels() -> None:
    whole = np.einsum("ir,hwrs,so->hwio", kernel(16, 3), kernel(3, 3, 3, 2), kernel(2, 24))
    assert (
        lowrank_math.error(whole, lowrank_math.factors(whole, "tucker", (3, 2)), "tucker")
        < 1e-9
    )
    assert lowrank_math.rank_choices(whole, "tucker", 1)[0] == (3, 2)


def test_ranks_are_multiples_below_full() -> None:
    assert lowrank_math.rank_choices(kernel(30, 20), "svd", 8) == [(8,), (16,)]


def way(layer: str, cost: float, loss: float) -> Split:
    return Split(layer=layer, method="svd", ranks=(8,), cost=cost, error=loss)


def test_the_cheapest_loss_for_the_cost_saved_goes_first() -> None:
    options = {
        "a": [way("a", 20, 0.9), way("a", 60, 0.1)],
        "b": [way("b", 50, 0.05)],
    }
    full = {"a": 100.0, "b": 100.0}
    assert within(options, full, 50)[0] == {"b": options["b"][0]}
    chosen, saved = within(options, full, 80)
    assert (chosen["a"].cost, saved) == (60, 90)
    chosen, saved = within(options, full, 1000)
    assert (chosen["a"].cost, saved) == (20, 130)  # as far as it goes


@pytest.mark.parametrize(("energy", "cost"), [(0.89, 20), (0.9, 20), (0.91, 60)])
def test_the_share_of_energy_is_inclusive(energy: float, cost: float) -> None:
    options = {"a": [way("a", 20, 0.1), way("a", 60, 0.01)]}
    assert by_energy(options, energy)["a"].cost == cost

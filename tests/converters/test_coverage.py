"""docs/coverage.md says what the stages do: checked whole in form, in a sample by running."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.converters import coverage, coverage_page

SAMPLE = (
    "Conv2D + BatchNormalization",
    "DepthwiseConv2D",
    "SeparableConv2D",
    "hard_sigmoid",
    "ThresholdedReLU",
    "Rescaling 1/127.5 - 1",
    "LayerNormalization",
    "RandomFlip",
    "x / y",
    "tf.split",
    "LSTM",
    "SimpleRNN",
    "TimeDistributed(Conv2D)",
    "MultiHeadAttention",
    "MultiHeadAttention, causal mask",
    "MobileNetV3 block",
)


@pytest.fixture(scope="module")
def page() -> coverage_page.Page:
    return coverage_page.read()


@pytest.fixture(scope="module")
def warm() -> Iterator[None]:
    """Run steps eagerly and conversions in one process: what the generator does."""
    from converters import keras2
    from converters.tflite import convert_process

    keras2.tf.config.run_functions_eagerly(True)
    with convert_process.kept_warm():
        yield
    keras2.tf.config.run_functions_eagerly(False)


def test_every_block_has_its_row_and_every_row_its_block(page: coverage_page.Page) -> None:
    assert set(page.cells) == {row[1] for row in coverage.ZOO}
    assert len(page.cells) == len(coverage.ZOO) >= 110


def test_the_page_is_what_its_table_says(page: coverage_page.Page) -> None:
    assert coverage_page.text(page) == coverage_page.PATH.read_text(encoding="utf-8")


def test_each_refusal_is_one_line_that_names_a_layer(page: coverage_page.Page) -> None:
    refused = {name for name, cells in page.cells.items() if "no: " in "".join(cells.values())}
    assert refused == set(page.refused)
    for name, words in page.refused.items():
        assert re.search(r"[\w.]+ \([A-Z]\w+\)", words), name


@pytest.mark.train
@pytest.mark.parametrize("name", SAMPLE)
def test_a_sample_of_the_table_is_true(page: coverage_page.Page, warm: None, name: str) -> None:
    found = coverage.outcomes(coverage.row(name))
    cells = {kind: coverage_page.cell(words) for kind, words in found.items()}
    assert cells == page.cells[name]

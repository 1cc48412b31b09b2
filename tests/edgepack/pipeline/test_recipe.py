"""Every built-in recipe loads, and a mistake in a user's own is named by its key."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgepack.compat.weight_forms import gain
from edgepack.errors import UsageError
from edgepack.pipeline import recipe
from edgepack.profiles import catalogue
from edgepack.toml_file import InvalidFile

BUILT_IN = {
    "int8": [],
    "qat": ["Qat"],
    "prune-qat": ["Prune", "Qat"],
    "cluster-qat": ["Cluster", "Qat"],
    "blocks-qat": ["Prune", "Qat"],
    "prune-cluster-qat": ["Prune", "Cluster", "Qat"],
    "channels-qat": ["Channels", "Qat"],
    "lowrank-qat": ["LowRank", "Qat"],
    "collaborate-qat": ["Collaborate", "Qat"],
    "channels-prune-cluster-qat": ["Channels", "Prune", "Cluster", "Qat"],
}


def test_the_built_in_recipes_are_these() -> None:
    assert set(BUILT_IN) <= set(recipe.names())


@pytest.mark.parametrize("name", recipe.names())
def test_every_built_in_loads(name: str) -> None:
    loaded = recipe.load(name)
    assert loaded.title
    if name in BUILT_IN:
        assert [type(stage).__name__ for stage in loaded.stages] == BUILT_IN[name]


def test_a_users_recipe_sets_what_it_names(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(
        'schema = 1\n[[stage]]\nkind = "prune"\nsparsity = 0.8\n'
        "[int8]\ncalibration_samples = 77\n"
    )
    loaded = recipe.load(str(path))
    assert loaded.name == "mine"
    assert loaded.stages[0].sparsity == 0.8
    assert loaded.int8.calibration_samples == 77
    assert loaded.words() != recipe.load("prune-qat").words()


def test_rewrites_run_in_their_own_order_and_only_where_asked() -> None:
    text = b"schema = 1\n[narrow]\nmax_error = 0.05\n[blocks]\n"
    loaded = recipe.parse(text, "r", "r.toml")
    assert [type(step).__name__ for step in loaded.rewrites] == ["Blocks", "Narrow"]
    assert loaded.forms == ("blocks", "int4")
    assert loaded.rewrites[1].max_error == 0.05
    assert loaded.words()[-1][0] == "Narrow"
    assert not recipe.load("int8").rewrites


def test_the_recipe_of_blocks_prunes_what_it_leaves_out() -> None:
    loaded = recipe.load("blocks-qat")
    assert loaded.stages[0].block == 16
    assert loaded.stages[0].sparsity > loaded.rewrites[0].min_empty
    assert loaded.forms == ("blocks",)


@pytest.mark.parametrize("asked", ['pattern = "2:4"', 'pattern = "1x4"', "block = 4"])
def test_a_pattern_no_device_gains_from_is_refused_with_the_reason_of_the_devices(
    asked: str,
) -> None:
    form = "2:4" if "2:4" in asked else "1x4"
    text = f'schema = 1\n[[stage]]\nkind = "prune"\n{asked}\n'
    setting, _, value = asked.partition(" = ")
    with pytest.raises(InvalidFile) as refused:
        recipe.parse(text.encode(), "mine", "mine.toml")
    assert str(refused.value).startswith(f"mine.toml:4: stage 1 (prune): {setting}: wanted")
    assert f"Received: {value}, which gains nothing on any device" in str(refused.value)
    reason = gain(form, catalogue.load("clinic-tablet-1gb-armv7")).says
    assert reason in str(refused.value)
    assert "wanted block = 16" in str(refused.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("schema = 2", "wanted schema = 1. Received: 2"),
        ("schema = 1\nstages = []", "unknown key 'stages', did you mean 'stage'"),
        (
            'schema = 1\n[[stage]]\nkind = "prun"',
            "kind: wanted .* Received: 'prun', did you mean 'prune'",
        ),
        ('schema = 1\n[[stage]]\nkind = "prune"\nsparcity = 0.5', "did you mean 'sparsity'"),
        ('schema = 1\n[[stage]]\nkind = "prune"\nsparsity = 1.5', "sparsity"),
        ('schema = 1\n[[stage]]\nkind = "prune"\nsparsity = "half"', "sparsity"),
        (
            'schema = 1\n[[stage]]\nkind = "qat"\n[[stage]]\nkind = "prune"',
            "prune, cluster, qat. Received: qat, prune",
        ),
        (
            'schema = 1\n[[stage]]\nkind = "prune"\nblock = 8',
            "block: wanted 1, or 16 as the int8 kernels read them. Received: 8",
        ),
        ('schema = 1\n[[stage]]\nkind = "prune"\npattern = "3:4"', "unknown key 'pattern'"),
        ("schema = 1\nstage = 3", r"wanted \[\[stage\]\] tables"),
        ("schema = 1\n[narrow]\nweights = 2", "narrow: weights: wanted 4. Received: 2"),
        ("schema = 1\nnarrow = 4", r"wanted a table \[narrow\]. Received: 4"),
        ("schema = ", "mine.toml:1: wanted TOML. Received: Invalid value"),
        ("schema = 1\nint8 = 4", r"wanted a table \[int8\]"),
    ],
)
def test_each_mistake_is_named(text: str, says: str) -> None:
    with pytest.raises(InvalidFile, match=says):
        recipe.parse(text.encode(), "mine", "mine.toml")


def test_an_unknown_name_says_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean 'prune-cluster-qat'"):
        recipe.load("prune-clusters-qat")


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ('kind = "prune"\nblock = "16"', "block: wanted a whole number. Received: '16'"),
        ('kind = "qat"\nepochs = true', "epochs: wanted a whole number. Received: true"),
        ('kind = "qat"\nattention = true', "attention: wanted a number. Received: true"),
        ('kind = "qat"\nepochs = 1.5', "epochs: wanted a whole number. Received: 1.5"),
        ('kind = "channels"\nreconstruct = 1', "reconstruct: wanted true or false"),
        ('kind = "qat"\nlayers = "conv"', "layers: wanted a list of names, like .*'conv'"),
        ('kind = "qat"\nlayers = [1]', "layers: wanted names in quotes, like"),
        ('kind = "channels"\ncriterion = "L1"', "did you mean 'l1'"),
        ('kind = "qat"\nlearning_rate = inf', "more than 0 and at most 1. Received: inf"),
    ],
)
def test_a_setting_of_another_type_is_refused_in_words_of_toml(written: str, says: str) -> None:
    with pytest.raises(InvalidFile, match=rf"mine.toml:4: stage 1 \(\w+\): .*{says}"):
        recipe.parse(f"schema = 1\n[[stage]]\n{written}".encode(), "mine", "mine.toml")


def test_a_whole_number_is_a_number() -> None:
    made = recipe.parse(
        b'schema = 1\n[[stage]]\nkind = "qat"\nlearning_rate = 1', "mine", "mine.toml"
    )
    assert made.stages[0].learning_rate == 1.0


WRONG = """\
schema = 2
titel = "Wrong everywhere"

[[stage]]
kind = "qat"
epochs = "ten"
learning_rate = true
layer = ["conv"]

[[stage]]
kind = "prun"

[[stage]]
kind = "prune"
sparsity = 1.5

[int8]
calibration_samples = "all"

[narrow]
weights = 3
"""
#: line, key, part of what was wanted, part of what was received, what was meant
MISTAKES = [
    (1, "", "schema = 1", "2", None),
    (2, "", "title", "unknown key 'titel'", "title"),
    (6, "stage 1 (qat): epochs", "a whole number", "'ten'", None),
    (7, "stage 1 (qat): learning_rate", "a number", "true", None),
    (8, "stage 1 (qat)", "layers", "unknown key 'layer'", "layers"),
    (11, "stage 2: kind", "prune", "'prun'", "prune"),
    (14, "stage", "in the order channels", "qat, prun, prune", None),
    (15, "stage 3 (prune): sparsity", "in (0, 1)", "1.5", None),
    (18, "int8: calibration_samples", "a whole number", "'all'", None),
    (21, "narrow: weights", "4", "3", None),
]


def test_every_mistake_is_explained_at_once_with_its_line() -> None:
    with pytest.raises(InvalidFile) as caught:
        recipe.parse(WRONG.encode(), "mine", "mine.toml")
    found = caught.value.problems
    assert [(p.line, p.key) for p in found] == [(line, key) for line, key, *_ in MISTAKES]
    for problem, (_, _, wanted, got, meant) in zip(found, MISTAKES, strict=True):
        assert wanted in problem.wanted
        assert got in problem.got
        assert problem.nearest == meant


def test_the_message_names_the_first_mistakes_and_counts_the_others() -> None:
    with pytest.raises(InvalidFile) as caught:
        recipe.parse(WRONG.encode(), "mine", "mine.toml")
    says = str(caught.value)
    assert "\n" not in says
    assert says.startswith("mine.toml:1: wanted schema = 1. Received: 2; mine.toml:2: wanted")
    assert says.endswith("; and 5 more mistakes")
    assert caught.value.exit_code == 1


def test_a_wrong_type_hides_no_range_and_a_range_not_the_next() -> None:
    written = 'kind = "prune"\nepochs = true\nsparsity = 1.5\nlearning_rate = 2\nblock = 3'
    with pytest.raises(InvalidFile) as caught:
        recipe.parse(f"schema = 1\n[[stage]]\n{written}".encode(), "mine", "mine.toml")
    assert sorted(problem.line or 0 for problem in caught.value.problems) == [4, 5, 6, 7]


def test_a_wrong_type_is_no_second_mistake_of_the_setting_that_needs_it() -> None:
    written = 'kind = "qat"\nattention = "5"\nlayers = ["conv"]'
    with pytest.raises(InvalidFile) as caught:
        recipe.parse(f"schema = 1\n[[stage]]\n{written}".encode(), "mine", "mine.toml")
    assert [problem.line for problem in caught.value.problems] == [4]


def test_one_mistake_more_is_counted_in_the_singular() -> None:
    unknown = "".join(f"unknown_{n} = 1\n" for n in range(6))
    with pytest.raises(InvalidFile, match=r"; and 1 more mistake$"):
        recipe.parse(f"schema = 1\n{unknown}".encode(), "mine", "mine.toml")


@pytest.mark.parametrize(
    "raw", [b"a = " + b"[" * 5000, b"title = '\xff'", b"\x00", b"a = " + b"9" * 5000]
)
def test_hostile_bytes_are_one_mistake(raw: bytes) -> None:
    with pytest.raises(InvalidFile) as caught:
        recipe.parse(raw, "mine", "mine.toml")
    assert len(caught.value.problems) == 1


@settings(max_examples=100, deadline=None)
@given(st.one_of(st.binary(max_size=200), st.text(max_size=200).map(str.encode)))
def test_no_bytes_crash_the_reader(raw: bytes) -> None:
    try:
        recipe.parse(raw, "mine", "mine.toml")
    except InvalidFile as invalid:
        assert all(problem.says for problem in invalid.problems)


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from(["schema", "title", "stage", "int8", "narrow", "blocks"]),
    st.sampled_from(
        ["1", "[]", "[1]", "{}", "[{}]", '"x"', "true", "[[1]]", "{a = 1}", "1979-05-27"]
    ),
)
def test_a_table_of_the_wrong_shape_is_explained(key: str, value: str) -> None:
    start = "" if key == "schema" else "schema = 1\n"
    try:
        recipe.parse(f"{start}{key} = {value}\n".encode(), "mine", "mine.toml")
    except InvalidFile as invalid:
        assert {problem.line for problem in invalid.problems} == {start.count("\n") + 1}

"""The word that was probably meant, by likeness and never by accident."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgepack.suggestions import did_you_mean, nearest

KNOWN = ("prune", "Cluster", "qat", "pixel-3", "clinic-tablet-1gb-armv7", "raspberry-pi-3")


@pytest.mark.parametrize(
    ("word", "found"),
    [
        ("prun", "prune"),
        ("PRUNE", "prune"),
        ("cluster", "Cluster"),
        ("tablet", "clinic-tablet-1gb-armv7"),
        ("rpi3", "raspberry-pi-3"),
        ("raspberry-pi-33", "raspberry-pi-3"),
        ("rpi4", ""),
        ("ta", ""),
        ("xyz", ""),
        ("", ""),
    ],
)
def test_the_nearest_word_whatever_its_case(word: str, found: str) -> None:
    assert nearest(word, KNOWN) == found


def test_a_message_ends_in_the_question_only_where_something_is_near() -> None:
    assert did_you_mean("prun", KNOWN) == ", did you mean 'prune'?"
    assert did_you_mean("xyz", KNOWN) == ""


def test_without_a_cutoff_something_is_always_near() -> None:
    assert nearest("xyz", ("mirror", "flip"), cutoff=0.0)


@given(st.text(max_size=200), st.lists(st.text(max_size=20), max_size=5))
def test_only_a_known_word_is_ever_offered(word: str, known: list[str]) -> None:
    found = nearest(word, known)
    assert found in known or found == ""

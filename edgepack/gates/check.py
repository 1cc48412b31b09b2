"""Bytes and a profile in, facts and a verdict out: all that a file tells without running."""

from __future__ import annotations

from edgepack.gates.finding import Verdict
from edgepack.gates.static import judge
from edgepack.profiles.profile import Profile
from edgepack.tflite.facts import Facts
from edgepack.tflite.flatbuffer import read


def check(model: bytes, profile: Profile) -> tuple[Facts, Verdict]:
    """Return what a .tflite holds and what every static gate says about it.

    Raises:
        InputError: the bytes are no undamaged .tflite.
    """
    facts = read(model)
    return facts, judge(facts, profile)

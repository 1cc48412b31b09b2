"""Which known word was probably meant by one that is not known."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

#: Longer words are compared by their beginning: comparing costs the product of the lengths.
_LONGEST = 80
_LEAST_PART = 3
#: From this likeness on it is a slip of the keyboard: one letter of four.
_SAME_WORD = 0.75


def nearest(word: str, known: Iterable[str], cutoff: float = 0.5) -> str:
    """Return the known word most like ``word``, whatever its case; empty where none is near.

    A given word of three letters or more is near to one that contains it or that it
    abbreviates, too: ``tablet`` finds ``clinic-tablet-1gb-armv7``, ``rpi3`` finds
    ``raspberry-pi-3``. Only a likeness of ``_SAME_WORD`` or more comes before those.

    Args:
        cutoff: least similarity, 0 (anything) to 1 (the same), of
            ``difflib.SequenceMatcher.ratio``.
    """
    folded: dict[str, str] = {}
    for one in known:
        folded.setdefault(one.lower(), one)
    given = word.lower()[:_LONGEST]
    close = difflib.get_close_matches(given, folded, n=1, cutoff=max(cutoff, _SAME_WORD))
    if len(given) >= _LEAST_PART:
        close += [lower for lower in folded if given in lower]
        close += [lower for lower in folded if _abbreviates(given, lower)]
    close += difflib.get_close_matches(given, folded, n=1, cutoff=cutoff)
    return folded[close[0]] if close else ""


def _abbreviates(short: str, word: str) -> bool:
    """Return whether ``word`` has every letter of ``short`` in that order, the first first."""
    rest = iter(word)
    return word[:1] == short[:1] and all(letter in rest for letter in short)


def did_you_mean(word: str, known: Iterable[str], cutoff: float = 0.5) -> str:
    """Return ``, did you mean 'x'?`` to end a message with; empty where nothing is near."""
    close = nearest(word, known, cutoff)
    return f", did you mean {close!r}?" if close else ""

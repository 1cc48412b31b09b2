"""Which known word was probably meant by one that is not known."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

#: Longer words are compared by their beginning: comparing costs the product of the lengths.
_LONGEST = 80
_LEAST_PART = 3


def nearest(word: str, known: Iterable[str], cutoff: float = 0.5) -> str:
    """Return the known word most like ``word``, whatever its case; empty where none is near.

    A word that contains the given one, if that has three letters or more, is near too: so
    ``tablet`` finds ``clinic-tablet-1gb-armv7``.

    Args:
        cutoff: least similarity, 0 (anything) to 1 (the same), of
            ``difflib.SequenceMatcher.ratio``.
    """
    folded: dict[str, str] = {}
    for one in known:
        folded.setdefault(one.lower(), one)
    given = word.lower()[:_LONGEST]
    close = difflib.get_close_matches(given, folded, n=1, cutoff=cutoff)
    close += [lower for lower in folded if len(given) >= _LEAST_PART and given in lower]
    return folded[close[0]] if close else ""


def did_you_mean(word: str, known: Iterable[str], cutoff: float = 0.5) -> str:
    """Return ``, did you mean 'x'?`` to end a message with; empty where nothing is near."""
    close = nearest(word, known, cutoff)
    return f", did you mean {close!r}?" if close else ""

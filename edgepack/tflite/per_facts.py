"""Answers about one model that are worked out once, however many devices ask."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar, cast

from edgepack.tflite.facts import Facts

P = ParamSpec("P")
R = TypeVar("R")


def per_facts(answer: Callable[Concatenate[Facts, P], R]) -> Callable[Concatenate[Facts, P], R]:
    """Return a pure function of facts that remembers its answers for as long as they live.

    Kept in the facts' own ``__dict__``, as ``functools.cached_property`` does: ``Facts`` has
    no hash, and a cache beside them would keep whole models alive. Arguments besides the
    facts must be hashable and positional, and the answer one that nobody changes.
    """
    name = f"{answer.__module__}.{answer.__qualname__}"

    @wraps(answer)
    def remembered(facts: Facts, /, *args: P.args, **kwargs: P.kwargs) -> R:
        known = vars(facts).setdefault(name, {})
        key = (*args, *sorted(kwargs.items()))
        if key not in known:
            known[key] = answer(facts, *args, **kwargs)
        return cast(R, known[key])

    return remembered

"""One mistake in a file that a person wrote, and all of them as one exception."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from edgepack.errors import InputError


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """A mistake: where it is, what was wanted, what was got, what was perhaps meant.

    Attributes:
        line: from 1; None where the file as a whole is meant.
        key: dotted path, list items from 0: ``cpu.cores.0.count``.
        nearest: the word that was probably meant; None where none is near.
    """

    file: str
    line: int | None = None
    key: str = ""
    wanted: str
    got: str
    nearest: str | None = None

    @property
    def says(self) -> str:
        """Return the mistake as one line."""
        place = f"{self.file}:{self.line}" if self.line else self.file
        key = f" {self.key}:" if self.key else ""
        meant = f"; did you mean {self.nearest}?" if self.nearest else ""
        return f"{place}:{key} wanted {self.wanted}; got {self.got}{meant}"

    def as_json(self) -> dict[str, Any]:
        """Return the mistake for ``--json``."""
        return asdict(self)


class Wrong(InputError):  # noqa: N818 - reads as a state, not as a fault
    """A file with mistakes; ``problems`` holds each of them."""

    def __init__(self, *problems: Problem) -> None:
        super().__init__("\n".join(problem.says for problem in problems))
        self.problems = problems

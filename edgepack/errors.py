"""What can go wrong, as a tree; a failed gate is not here, because it is a value.

EdgepackError            exit 1  the question could not be answered
├── UsageError           exit 2  invalid command line: a name, an option, a value
├── InputError           exit 1  a file or data from outside is not what it should be
├── EnvironmentMissing   exit 1  a tool, package or engine is absent; says how to get it
├── OutputError          exit 1  nowhere to write: permission, space
└── RuntimeFailure       exit 1  a model runtime or tool crashed, hung or refused
    └── TimedOut         exit 1  it did not end in time, which says nothing of the model
"""

from __future__ import annotations


class EdgepackError(Exception):
    """One line for the user: where, what was wanted, what was got, what to do."""

    exit_code = 1


class UsageError(EdgepackError):
    """Invalid command line; a mistake in what is read from a file is an InputError."""

    exit_code = 2


class InputError(EdgepackError):
    """A file or data set from outside is damaged, hostile or of the wrong shape."""


class EnvironmentMissing(EdgepackError):  # noqa: N818 - reads as a state, not as a fault
    """A package, tool or engine that the question needs is not on this machine."""


class OutputError(EdgepackError):
    """The result could not be written; nothing half-written is left."""


class RuntimeFailure(EdgepackError):  # noqa: N818
    """A model runtime crashed, hung or refused the model."""


class TimedOut(RuntimeFailure):
    """It did not end in its time; the machine may be busy, so the model is not to blame."""

"""Which devices are known: their names, their profiles, and what is wrong with a file.

A name is looked for in the user's folder first (``EDGEPACK_PROFILES``, else
``~/.config/edgepack/profiles``), then among the built-in profiles. Only the file asked for
and those it extends are read.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Iterator
from pathlib import Path

import device_profiles
from edgepack.errors import InputError, UsageError
from edgepack.profiles.profile import Profile
from edgepack.profiles.validation import (
    NAME,
    Incomplete,
    ProfileFile,
    read_profile_file,
    validated,
)
from edgepack.suggestions import did_you_mean, nearest
from edgepack.toml_file import InvalidFile, Problem, UnreadableFile

__all__ = ["Problem", "file_of", "load", "load_usable", "names", "problems", "user_folder_of"]

_SUFFIX = ".toml"
_FAMILIES = "families"
_LONGEST_CHAIN = 8
_LONGEST_NAME = 64
Device = str | os.PathLike[str] | Profile
#: What devices are asked for by: names, ``.toml`` files, loaded profiles, or one of those.
Devices = Device | Iterable[Device]


def user_folder_of(environment: dict[str, str] | None = None) -> Path:
    """Return the folder of the user's own profiles, whether it exists or not."""
    known = os.environ if environment is None else environment
    if chosen := known.get("EDGEPACK_PROFILES"):
        return Path(chosen)
    config = known.get("XDG_CONFIG_HOME") or str(Path(known.get("HOME", "~")) / ".config")
    return Path(config).expanduser() / "edgepack" / "profiles"


def names(user_folder: Path | None = None) -> tuple[str, ...]:
    """Return the name of every device, the user's and the built-in, sorted; reads no file."""
    found = {path.stem for folder in _folders(user_folder) for path in _files_in(folder)}
    return tuple(sorted(found))


def families(user_folder: Path | None = None) -> tuple[str, ...]:
    """Return the name of every family that a profile may extend, sorted."""
    folders = (folder / _FAMILIES for folder in _folders(user_folder))
    return tuple(sorted({path.stem for folder in folders for path in _files_in(folder)}))


def load(name_or_path: str, user_folder: Path | None = None) -> Profile:
    """Return the profile of that name, or of that file if it ends in ``.toml``.

    Raises:
        UsageError: no device of that name; says the nearest one.
        InputError: the file is not a profile; says the first mistake and how many there are.
    """
    try:
        return validated(_chain(_file_of(name_or_path, user_folder), user_folder))
    except InvalidFile as invalid:
        first, *others = invalid.problems
        check = f"edgepack profiles check {shlex.quote(name_or_path)}"
        more = f" (and {len(others)} more: {check})" if others else ""
        raise InputError(f"{first.says}{more}") from invalid


def load_all(wanted: Devices) -> list[Profile]:
    """Return the profiles of names, files and loaded profiles, each device once.

    Raises:
        UsageError: none, an unknown name, or two different profiles of one name.
    """
    # A string is a sequence of strings too, but never meant as one.
    several = [wanted] if isinstance(wanted, str | os.PathLike | Profile) else list(wanted)
    if not several:
        raise UsageError("--profile: wanted one device or more. Received: none")
    found: dict[str, Profile] = {}
    for one in several:
        profile = one if isinstance(one, Profile) else load(os.fspath(one))
        if found.setdefault(profile.name, profile) != profile:
            word = profile.name if isinstance(one, Profile) else one
            raise UsageError(f"--profile {word}: another profile is named {profile.name} too")
    return list(found.values())


def check_profile_name(name: str) -> None:
    """Refuse what cannot be a device's name.

    Raises:
        UsageError: says what a name is.
    """
    if not NAME.fullmatch(name) or len(name) > _LONGEST_NAME:
        raise UsageError(
            f"profile name {name!r}: wanted lower-case letters, digits, dots and dashes,"
            f" at most {_LONGEST_NAME}"
        )


def load_usable(user_folder: Path | None = None) -> tuple[tuple[Profile, ...], tuple[str, ...]]:
    """Return every device that loads, in name order, and why each other one does not.

    One bad file among the user's own does not hide the rest.
    """
    found, skipped = [], []
    for name in names(user_folder):
        try:
            found.append(load(name, user_folder))
        except (InputError, UsageError) as error:
            skipped.append(str(error))
    return tuple(found), tuple(skipped)


def file_of(name_or_path: str, user_folder: Path | None = None) -> Path:
    """Return the file that is meant: one at that path, else that of the device so named.

    Raises:
        UsageError: no such file, and no device of that name; says the nearest one.
        InputError: it cannot be read.
    """
    path = Path(name_or_path)
    if not os.path.isfile(path):  # noqa: PTH113 - Path.is_file raises where it may not look
        path = _file_of(name_or_path, user_folder)
    try:
        read_profile_file(path)
    except UnreadableFile:
        raise
    except InvalidFile:
        return path  # mistakes are what it is asked about
    return path


def problems(path: Path, user_folder: Path | None = None) -> tuple[Problem, ...]:
    """Return every mistake of the profile file at ``path``; none means that it loads.

    A file in a folder called ``families`` may be incomplete: what is there is checked.
    """
    try:
        chain = _chain(path, user_folder)
    except InvalidFile as invalid:
        return invalid.problems + _own_problems(path)
    return _problems_of(chain, whole=path.absolute().parent.name != _FAMILIES)


def _own_problems(path: Path) -> tuple[Problem, ...]:
    """Return the mistakes of a file whose parents cannot be read, as far as it goes alone."""
    try:
        return _problems_of((read_profile_file(path),), whole=False)
    except InvalidFile:
        return ()  # the file itself cannot be read, which is said already


def _problems_of(chain: tuple[ProfileFile, ...], *, whole: bool) -> tuple[Problem, ...]:
    try:
        validated(chain, whole=whole)
    except InvalidFile as invalid:
        return invalid.problems
    except Incomplete:
        return ()
    return ()


def _folders(user_folder: Path | None) -> tuple[Path, Path]:
    return (user_folder or user_folder_of(), device_profiles.folder())


def _files_in(folder: Path) -> Iterator[Path]:
    try:
        found = sorted(folder.iterdir())
    except FileNotFoundError:
        return
    except OSError as error:
        raise InputError(
            f"{folder}: cannot read this folder of profiles: {error.strerror};"
            " EDGEPACK_PROFILES names another"
        ) from error
    yield from (p for p in found if p.suffix == _SUFFIX and not p.name.startswith("."))


def _file_of(name_or_path: str, user_folder: Path | None) -> Path:
    if name_or_path.endswith(_SUFFIX) or "/" in name_or_path or os.sep in name_or_path:
        return Path(name_or_path)
    for folder in _folders(user_folder):
        found = [path for path in _files_in(folder) if path.stem == name_or_path]
        if found:
            return found[0]
    known = names(user_folder)
    raise UsageError(
        f"no device profile named {name_or_path!r}{did_you_mean(name_or_path, known, 0.4)}"
        f" ({len(known)} are known: edgepack profiles list)"
    )


def _chain(path: Path, user_folder: Path | None) -> tuple[ProfileFile, ...]:
    """Return the file and all it extends, itself first."""
    layers = [read_profile_file(path)]
    while (parent := layers[-1].parent) is not None:
        seen = [layer.path.absolute() for layer in layers]
        choices = [
            place / f"{parent}{_SUFFIX}"
            for folder in _folders(user_folder)
            for place in (folder, folder / _FAMILIES)
        ]
        there = [choice for choice in choices if choice.is_file()]
        fresh = [choice for choice in there if choice.absolute() not in seen]
        if not fresh:
            known = (*names(user_folder), *families(user_folder))
            raise InvalidFile(_bad_parent(layers, parent, looped=bool(there), known=known))
        if len(layers) == _LONGEST_CHAIN:
            raise InvalidFile(_bad_parent(layers, parent, looped=True, known=()))
        layers.append(read_profile_file(fresh[0]))
    return tuple(layers)


def _bad_parent(
    layers: list[ProfileFile], parent: str, *, looped: bool, known: tuple[str, ...]
) -> Problem:
    last = layers[-1]
    chain = " -> ".join([*(layer.path.stem for layer in layers), parent])
    return Problem(
        file=str(last.path),
        line=last.line_of(("extends",)),
        key="extends",
        wanted=(
            f"a chain without a circle and of at most {_LONGEST_CHAIN} files"
            if looped
            else "the name of a profile or family that exists"
        ),
        got=chain if looped else repr(parent),
        nearest=None if looped else nearest(parent, known, 0.4) or None,
    )

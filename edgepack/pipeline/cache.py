"""The content-addressed cache of finished work, and the keys that its entries have.

A key is a digest of all that decides a result; an entry is a folder that vouches for the
key it was kept under and for every byte in it, so one that was damaged, swapped or left
half removed is made anew and never served.
"""

from __future__ import annotations

import dataclasses
import errno
import inspect
import json
import logging
import marshal
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from enum import Enum
from pathlib import Path
from typing import Any

from converters.draft import Training
from edgepack.errors import OutputError
from edgepack.files import sha256, write_failure

log = logging.getLogger(__name__)

_SEAL = "digests.json"
#: The only fields that no key holds: a callback and the reader of finished files decide
#: nothing, and the models have digests of their own (``Source.key``), which the workspace
#: puts into its keys.
NOT_SETTINGS: Mapping[type, frozenset[str]] = {
    Training: frozenset({"progress", "original", "teacher", "inspector"})
}


def default_cache() -> Path:
    """Return the folder of finished stages: ``$EDGEPACK_CACHE`` or the user's cache."""
    chosen = os.environ.get("EDGEPACK_CACHE")
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(chosen) if chosen else Path(base) / "edgepack"


def settings_of(value: Any) -> Any:
    """Return ``value`` as JSON that differs wherever a field of it, or its type, does.

    Dataclasses are read field by field, whatever fields they have: one that is added later
    is in the key without being named here.

    Raises:
        TypeError: a value that JSON cannot tell from another one.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Enum):
        return [_name(type(value)), value.value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        left_out = NOT_SETTINGS.get(type(value), frozenset())
        fields = {
            field.name: settings_of(getattr(value, field.name))
            for field in dataclasses.fields(value)
            if field.name not in left_out
        }
        return [_name(type(value)), fields]
    if isinstance(value, list | tuple):
        return [settings_of(item) for item in value]
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {key: settings_of(item) for key, item in value.items()}
    raise TypeError(
        f"{_name(type(value))}: wanted settings of plain values, from which a cache key can "
        "be made: a frozen dataclass of numbers, words, lists and such dataclasses"
    )


def code_of(value: Any) -> str:
    """Return a digest of the code behind a stage, ``""`` for one of ``converters``.

    Those are all in ``source.stages_digest``; of a stage from elsewhere it is its file.
    """
    kind = type(value)
    if kind.__module__.partition(".")[0] == "converters":
        return ""
    try:
        return sha256(Path(inspect.getfile(kind)).read_bytes())
    except (OSError, TypeError):  # typed into an interpreter: there is no file
        return sha256(marshal.dumps(kind.__call__.__code__))


def _name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


class Cache:
    """Folders of finished work, each named by the digest of all that it was made from.

    An entry appears whole, by one rename; a damaged one is dropped and made again.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def find(self, key: str) -> Path | None:
        """Return the finished folder of ``key``, or None; damage counts as None."""
        return None if self._read(key) is None else self._folder(key)

    def keep(self, key: str, fill: Callable[[Path], None]) -> Path:
        """Return the folder of ``key`` after ``fill`` wrote its files into a private one.

        Raises:
            OutputError: the cache cannot be written; nothing of the entry remains.
        """
        folder = self._folder(key)
        partial: Path | None = None
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            partial = Path(tempfile.mkdtemp(dir=self.root, prefix=".partial-"))
            fill(partial)
            seal = {"key": key, "files": _digests(_contents(partial))}
            (partial / _SEAL).write_text(json.dumps(seal, sort_keys=True))
            try:
                partial.replace(folder)
            except OSError as error:
                # Another build finished the same entry first; both hold the same content.
                if error.errno not in {errno.ENOTEMPTY, errno.EEXIST}:
                    raise
        except OSError as error:
            why = write_failure(error, "another folder with EDGEPACK_CACHE")
            raise OutputError(f"{self.root}: cannot keep finished stages: {why}") from error
        finally:
            if partial is not None:
                shutil.rmtree(partial, ignore_errors=True)
        return folder

    def files_of(self, key: str, make: Callable[[], Mapping[str, bytes]]) -> dict[str, bytes]:
        """Return the cached files of ``key`` by name, calling ``make`` where there are none."""
        kept = self._read(key)
        if kept is not None:
            return kept
        made = dict(make())

        def fill(folder: Path) -> None:
            for name, data in made.items():
                (folder / name).write_bytes(data)

        self.keep(key, fill)
        return made

    def bytes_of(self, key: str, make: Callable[[], bytes]) -> bytes:
        """Return the cached bytes of ``key``, calling ``make`` once where there are none."""
        return self.files_of(key, lambda: {"data": make()})["data"]

    def json_of(self, key: str, make: Callable[[], Any]) -> Any:
        """Return the cached JSON value of ``key``, or what ``make`` returns, kept."""
        return json.loads(
            self.bytes_of(key, lambda: json.dumps(make(), sort_keys=True).encode())
        )

    def _folder(self, key: str) -> Path:
        return self.root / key[:2] / key

    def _read(self, key: str) -> dict[str, bytes] | None:
        """Return an entry's files if all of them are what was kept under ``key``."""
        folder = self._folder(key)
        if not folder.exists():
            return None
        try:
            seal = json.loads((folder / _SEAL).read_bytes())
            found = _contents(folder)
            if seal == {"key": key, "files": _digests(found)}:
                return found
            log.warning("cache entry %s is damaged; making it again", key)
        except (OSError, ValueError, RecursionError) as error:
            log.warning("cache entry %s is unreadable (%s); making it again", key, error)
        with suppress(OSError):  # a file lies where the folder belongs
            folder.unlink()
        shutil.rmtree(folder, ignore_errors=True)
        return None


def _contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != _SEAL
    }


def _digests(contents: Mapping[str, bytes]) -> dict[str, str]:
    return {name: sha256(data) for name, data in contents.items()}

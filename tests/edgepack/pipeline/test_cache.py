"""Finished work is made once; what is damaged, swapped or of other settings is made anew."""

from __future__ import annotations

import dataclasses
import errno
import json
import shutil
from dataclasses import dataclass, field, make_dataclass
from pathlib import Path
from typing import Any

import pytest

from converters.draft import Training
from converters.quantized.int8 import Int8
from edgepack.errors import OutputError
from edgepack.pipeline import cache as caching
from edgepack.pipeline import recipe
from edgepack.pipeline.cache import Cache, settings_of


def test_finished_work_is_made_once(tmp_path: Path) -> None:
    cache, calls = Cache(tmp_path), []

    def make() -> bytes:
        calls.append(1)
        return b"result"

    assert cache.bytes_of("a" * 64, make) == cache.bytes_of("a" * 64, make) == b"result"
    assert len(calls) == 1


def test_damaged_work_is_made_again(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    cache.bytes_of("a" * 64, lambda: b"right")
    entry = cache.find("a" * 64)
    assert entry is not None
    (entry / "data").write_bytes(b"wrong")
    assert cache.bytes_of("a" * 64, lambda: b"right") == b"right"


def test_interrupted_work_leaves_nothing(tmp_path: Path) -> None:
    cache = Cache(tmp_path)

    def killed(folder: Path) -> None:
        (folder / "half").write_bytes(b"h")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cache.keep("b" * 64, killed)
    assert cache.find("b" * 64) is None
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []


def test_a_cache_without_space_keeps_nothing_half_written(tmp_path: Path) -> None:
    cache = Cache(tmp_path)

    def fill(folder: Path) -> None:
        (folder / "weights").write_bytes(b"half of")
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OutputError, match=r"no space left.*EDGEPACK_CACHE") as caught:
        cache.keep("a" * 64, fill)
    assert "--out" not in str(caught.value)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    assert cache.find("a" * 64) is None


def test_bytes_are_kept_as_they_are(tmp_path: Path) -> None:
    data = bytes(range(256)) * 8
    cache = Cache(tmp_path)
    assert cache.files_of("c" * 64, lambda: {"model.tflite": data, "notes": b"n"}) == {
        "model.tflite": data,
        "notes": b"n",
    }
    entry = cache.find("c" * 64)
    assert entry is not None
    assert (entry / "model.tflite").read_bytes() == data


@pytest.mark.parametrize("harm", ["swap", "add", "remove", "seal", "unseal", "file"])
def test_an_entry_vouches_for_its_key_and_every_file(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, harm: str
) -> None:
    cache = Cache(tmp_path)
    one, two = "d" * 64, "d" * 63 + "e"
    for key, data in ((one, b"one"), (two, b"two")):
        cache.bytes_of(key, lambda data=data: data)  # type: ignore[misc]
    entry, other = cache.find(one), cache.find(two)
    assert entry is not None
    assert other is not None
    if harm == "swap":
        shutil.rmtree(entry)
        shutil.copytree(other, entry)
    elif harm == "add":
        (entry / "more").write_bytes(b"x")
    elif harm == "remove":
        (entry / "data").unlink()
    elif harm == "seal":
        (entry / "digests.json").write_text("[]")
    elif harm == "unseal":
        (entry / "digests.json").unlink()
    else:
        shutil.rmtree(entry)
        entry.write_bytes(b"no folder")
    assert cache.bytes_of(one, lambda: b"anew") == b"anew"
    assert cache.bytes_of(one, lambda: b"never") == b"anew"
    assert cache.bytes_of(two, lambda: b"never") == b"two"
    assert one in caplog.text


def test_every_setting_of_training_is_in_the_key_but_four() -> None:
    _, kept = settings_of(Training())
    left_out = {"progress", "original", "teacher", "inspector"}
    assert {Training: left_out} == caching.NOT_SETTINGS
    assert set(kept) == {field.name for field in dataclasses.fields(Training)} - left_out


@pytest.mark.parametrize("kind", [*recipe.STAGES.values(), Int8, Training])
def test_a_field_that_is_added_later_changes_the_key(kind: type[Any]) -> None:
    plain = kind()
    wider = make_dataclass(
        kind.__name__, [("added", int, field(default=0))], bases=(kind,), frozen=True
    )
    texts = {
        json.dumps(settings_of(value)[1], sort_keys=True)
        for value in (plain, wider(), wider(added=1))
    }
    assert len(texts) == 3


@pytest.mark.parametrize("value", [object(), {1: 2}, {"a"}, b"x", lambda: None])
def test_what_json_cannot_tell_apart_is_no_setting(value: object) -> None:
    @dataclass(frozen=True)
    class Stage:
        given: object

    with pytest.raises(TypeError, match="wanted settings of plain values"):
        settings_of(Stage(value))


def test_a_seal_of_endless_depth_is_damage(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    key = "ab" + "0" * 62
    assert cache.bytes_of(key, lambda: b"first") == b"first"
    (tmp_path / "ab" / key / "digests.json").write_text("[" * 100_000)
    assert cache.bytes_of(key, lambda: b"again") == b"again"
    assert cache.bytes_of(key, lambda: b"never") == b"again"

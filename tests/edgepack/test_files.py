"""Whole files or none; a cache entry appears by one rename and damage is never served."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from edgepack import files as store
from edgepack.errors import InputError, OutputError


def test_a_failed_write_leaves_the_older_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "product"
    store.write_whole(target, b"older")

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("edgepack.files.os.fsync", full)
    with pytest.raises(OutputError, match=r"product: cannot write: no space left"):
        store.write_whole(target, b"newer")
    assert target.read_bytes() == b"older"
    assert [path.name for path in tmp_path.iterdir()] == ["product"]


def test_a_file_in_the_way_of_a_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(OutputError, match=r"file/out: cannot write here.*choose another"):
        store.prove_writable(tmp_path / "file" / "out")


@pytest.mark.parametrize("name", ["out", "a/b/c", "there", "there/new"])
def test_the_proof_of_an_output_leaves_no_trace(tmp_path: Path, name: str) -> None:
    (tmp_path / "there").mkdir()
    store.prove_writable(tmp_path / name)
    assert [path.name for path in tmp_path.rglob("*")] == ["there"]


@pytest.mark.parametrize(("size", "refused"), [(9, False), (10, False), (11, True)])
def test_the_reading_ceiling_is_inclusive(tmp_path: Path, size: int, refused: bool) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"a" * size)
    if refused:
        with pytest.raises(InputError, match="more than 10 B is refused"):
            store.read_whole(path, 10, "a thing")
    else:
        assert len(store.read_whole(path, 10, "a thing")) == size


@pytest.mark.parametrize("kind", ["missing", "empty", "folder"])
def test_what_cannot_be_read_is_named(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "thing"
    if kind == "empty":
        path.touch()
    elif kind == "folder":
        path.mkdir()
    with pytest.raises(InputError, match="thing"):
        store.read_whole(path, 10, "a thing")


def test_finished_work_is_made_once(tmp_path: Path) -> None:
    cache, calls = store.Cache(tmp_path), []

    def make() -> bytes:
        calls.append(1)
        return b"result"

    assert cache.bytes_of("a" * 64, make) == cache.bytes_of("a" * 64, make) == b"result"
    assert len(calls) == 1


def test_damaged_work_is_made_again(tmp_path: Path) -> None:
    cache = store.Cache(tmp_path)
    cache.bytes_of("a" * 64, lambda: b"right")
    entry = cache.find("a" * 64)
    assert entry is not None
    (entry / "data").write_bytes(b"wrong")
    assert cache.bytes_of("a" * 64, lambda: b"right") == b"right"


def test_interrupted_work_leaves_nothing(tmp_path: Path) -> None:
    cache = store.Cache(tmp_path)

    def killed(folder: Path) -> None:
        (folder / "half").write_bytes(b"h")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cache.keep("b" * 64, killed)
    assert cache.find("b" * 64) is None
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []


def test_the_digest_of_parts_depends_on_order_and_kind() -> None:
    assert store.digest_of("a", 1) != store.digest_of(1, "a")
    assert store.digest_of({"x": 1, "y": 2}) == store.digest_of({"y": 2, "x": 1})
    assert store.digest_of("1") != store.digest_of(1)


def test_a_cache_without_space_keeps_nothing_half_written(tmp_path: Path) -> None:
    cache = store.Cache(tmp_path)

    def fill(folder: Path) -> None:
        (folder / "weights").write_bytes(b"half of")
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OutputError, match=r"no space left.*EDGEPACK_CACHE") as caught:
        cache.keep("a" * 64, fill)
    assert "--out" not in str(caught.value)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    assert cache.find("a" * 64) is None

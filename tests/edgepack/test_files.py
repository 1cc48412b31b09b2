"""Whole files or none, and every reason why not is said."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from edgepack import files
from edgepack.errors import InputError, OutputError


def test_a_failed_write_leaves_the_older_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "product"
    files.write_whole(target, b"older")

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("edgepack.files.os.fsync", full)
    with pytest.raises(OutputError, match=r"product: cannot write: no space left"):
        files.write_whole(target, b"newer")
    assert target.read_bytes() == b"older"
    assert [path.name for path in tmp_path.iterdir()] == ["product"]


def test_a_file_in_the_way_of_a_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(OutputError, match=r"file/out: cannot write here.*choose another"):
        files.check_writable(tmp_path / "file" / "out")


@pytest.mark.parametrize("name", ["out", "a/b/c", "there", "there/new"])
def test_the_proof_of_an_output_leaves_no_trace(tmp_path: Path, name: str) -> None:
    (tmp_path / "there").mkdir()
    files.check_writable(tmp_path / name)
    assert [path.name for path in tmp_path.rglob("*")] == ["there"]


@pytest.mark.parametrize(("size", "refused"), [(9, False), (10, False), (11, True)])
def test_the_reading_ceiling_is_inclusive(tmp_path: Path, size: int, refused: bool) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"a" * size)
    if refused:
        with pytest.raises(InputError, match="more than 10 B is refused"):
            files.read_whole(path, 10, "a thing")
    else:
        assert len(files.read_whole(path, 10, "a thing")) == size


@pytest.mark.parametrize("kind", ["missing", "empty", "folder"])
def test_what_cannot_be_read_is_named(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "thing"
    if kind == "empty":
        path.touch()
    elif kind == "folder":
        path.mkdir()
    with pytest.raises(InputError, match="thing"):
        files.read_whole(path, 10, "a thing")


def test_the_digest_of_parts_depends_on_order_and_kind() -> None:
    assert files.digest_of("a", 1) != files.digest_of(1, "a")
    assert files.digest_of({"x": 1, "y": 2}) == files.digest_of({"y": 2, "x": 1})
    assert files.digest_of("1") != files.digest_of(1)


def test_a_name_that_no_file_can_have_is_one_line() -> None:
    with pytest.raises(InputError, match=r"'a\\x00b': cannot read a model: embedded null byte"):
        files.read_whole(Path("a\0b"), 9, "a model")

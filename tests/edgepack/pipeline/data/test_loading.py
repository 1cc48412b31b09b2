"""Mistakes in the data show before training, named by file, split and row."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from converters.draft import Samples
from converters.task import TaskHint
from edgepack.errors import InputError, UsageError
from edgepack.pipeline.data import formats, loading

SHAPE = (4, 4, 1)


def arrays(**changes: Any) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    made: dict[str, Any] = {}
    for split, rows in (("train", 30), ("val", 10), ("test", 20)):
        made[f"x_{split}"] = rng.integers(0, 256, (rows, *SHAPE)).astype(np.uint8)
        made[f"y_{split}"] = np.arange(rows) % 3
    return {k: v for k, v in (made | changes).items() if v is not None}


def load(path: Path, task: str = "classification", **kind: Any) -> Samples:
    output = SHAPE if task == "reconstruction" else (3,)
    samples, _ = loading.load(
        str(path), input_shape=SHAPE, output_shape=output, task=task, **kind
    )
    return samples


def saved(folder: Path, **changes: Any) -> Path:
    path = folder / "x.npz"
    np.savez_compressed(path, **arrays(**changes))
    return path


def test_splits_arrive_as_they_were_saved(tmp_path: Path) -> None:
    samples = load(saved(tmp_path))
    assert samples.x_test.shape == (20, *SHAPE)
    assert samples.y_train.tolist() == arrays()["y_train"].tolist()


def test_the_digest_follows_the_values(tmp_path: Path) -> None:
    first = load(saved(tmp_path)).digest
    assert load(saved(tmp_path)).digest == first
    changed = arrays()["y_test"].copy()
    changed[0] = 2
    assert load(saved(tmp_path, y_test=changed)).digest != first


def test_an_undivided_set_is_divided_without_overlap_and_the_same_way(tmp_path: Path) -> None:
    path = tmp_path / "one.npz"
    x = np.arange(200 * 16, dtype=np.float32).reshape(200, *SHAPE)
    np.savez(path, x=x, y=np.arange(200) % 3)
    samples, again = load(path), load(path)
    parts = [samples.x_train, samples.x_val, samples.x_test]
    firsts = np.concatenate([part[:, 0, 0, 0] for part in parts])
    assert sorted(firsts) == sorted(x[:, 0, 0, 0])
    assert again.digest == samples.digest
    assert (len(samples.x_val), len(samples.x_test)) == (30, 50)


def test_one_hot_labels_become_indices(tmp_path: Path) -> None:
    hot = np.eye(3, dtype=np.float32)[np.arange(30) % 3]
    assert load(saved(tmp_path, y_train=hot)).y_train.tolist() == (np.arange(30) % 3).tolist()


def test_reconstruction_needs_no_labels(tmp_path: Path) -> None:
    path = saved(tmp_path, y_train=None, y_val=None, y_test=None)
    samples = load(path, "reconstruction")
    assert (samples.y_test == samples.x_test).all()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"x_test": np.zeros((20, 5, 4, 1))}, r"x_test.*\(4, 4, 1\)\. Received: \(5, 4, 1\)"),
        ({"x_val": np.full((10, *SHAPE), np.nan)}, "x_val: row 0 holds NaN"),
        ({"y_test": np.full(20, 3)}, r"y_test.*classes 0 to 2.*Received: 3 in row 0"),
        ({"y_test": np.full(20, -1)}, "Received: -1"),
        ({"y_test": np.full(20, 0.5)}, r"whole numbers.*0\.5 in row 0; .*--task regression"),
        ({"y_test": np.zeros(19)}, "20 inputs but 19 targets"),
        ({"y_train": np.full((30, 3), 0.3)}, "soft labels are refused.*--task regression"),
        ({"y_val": np.ones((10, 3))}, "Received: 3 of them in row 0.*--task multilabel"),
        ({"y_test": np.arange(20) % 3 + 1}, "numbered 1 to 3; subtract 1"),
        ({"x_test": None}, "wanted x_train, y_train"),
        ({"y_test": None}, "y_test: missing"),
        ({"x_test": np.zeros((0, *SHAPE))}, "at least one row"),
        ({"x_train": np.full((30, *SHAPE), "a")}, "wanted numbers"),
        ({"x_test": np.array(5)}, "at least one row"),
        ({"x_test": np.full((20, *SHAPE), 1e300)}, "float32 does not hold"),
        ({"x_test": np.full((20, *SHAPE), 1j)}, "wanted numbers, got dtype complex"),
        ({"y_test": np.array(5)}, "20 inputs but a single number"),
        ({"y_test": np.array(["cat"] * 20)}, "number the classes from 0"),
        ({"y_test": np.full(20, 1e300)}, "float32 does not hold"),
        (
            {"y_test": np.full(20, 2**63 + 1, dtype=np.uint64)},
            r"classes 0 to 2\. Received: 9223372036854775809",
        ),
        ({"y_test": np.zeros((20, 0))}, r"wanted class indices .*got \(20, 0\)"),
        ({"labels": np.array(["a", "b"])}, "names 2 classes .* knows 3"),
        ({"labels": np.array(["a", "b", "a"])}, "two classes are named 'a'"),
        ({"labels": np.array(["a", "b\nc", "d"])}, "wanted one line of text"),
    ],
)
def test_each_mistake_is_named(tmp_path: Path, changes: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        load(saved(tmp_path, **changes))


def test_targets_that_cannot_be_judged_are_refused_before_training(tmp_path: Path) -> None:
    numbers = {f"y_{s}": np.ones(n, np.float32) for s, n in (("train", 30), ("val", 10))}
    path = saved(tmp_path, **numbers, y_test=np.ones(20, np.float32))
    with pytest.raises(InputError, match="every test target is the same"):
        loading.load(str(path), input_shape=SHAPE, output_shape=(1,), task="regression")
    with pytest.raises(InputError, match="gives what it takes"):
        loading.load(str(path), input_shape=SHAPE, output_shape=(5,), task="reconstruction")


def test_what_is_known_of_the_preprocessing_is_said(tmp_path: Path) -> None:
    path = saved(tmp_path)
    said = loading.preprocessing(str(path), load(path), "raw")
    x = arrays()["x_train"]
    assert said.startswith("none by edgepack")
    assert f"uint8, {x.min()} to {x.max()}" in said
    assert "pixels as -1 to 1" in loading.preprocessing(str(tmp_path), load(path), "signed")
    assert loading.holds_images("tfds:mnist")
    assert not loading.holds_images(f"{tmp_path}/mine.py:load")


def test_pickled_arrays_never_run(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    np.savez(path, **arrays(x_val=np.asarray([{"a": 1}] * 10, dtype=object)))
    with pytest.raises(InputError, match="pickled objects"):
        load(path)


def test_other_files_are_no_data(tmp_path: Path) -> None:
    np.save(tmp_path / "one.npy", np.zeros(3))
    (tmp_path / "text.npz").write_text("x_train")
    (tmp_path / "empty").mkdir()
    for name in ("one.npy", "text.npz", "empty", "absent.npz"):
        with pytest.raises(InputError, match=name):
            load(tmp_path / name)


def test_an_oversized_npz_is_refused_unread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = saved(tmp_path)
    with zipfile.ZipFile(path) as archive:
        whole = sum(entry.file_size for entry in archive.infolist())
    for ceiling, fits in ((whole - 1, False), (whole, True), (whole + 1, True)):
        monkeypatch.setattr(formats, "CEILING_BYTES", ceiling)
        if fits:
            assert len(load(path).x_test) == 20
        else:
            with pytest.raises(InputError, match="is refused"):
                load(path)


@pytest.mark.parametrize("cut", [0, 1, 100, 700])
def test_a_truncated_file_is_one_clear_line(tmp_path: Path, cut: int) -> None:
    path = saved(tmp_path)
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(InputError, match=r"x\.npz"):
        load(path)


def test_flipped_bits_never_pass_unseen_or_crash(tmp_path: Path) -> None:
    path = saved(tmp_path)
    good, digest = path.read_bytes(), load(path).digest
    rng = np.random.default_rng(1)
    for place in rng.integers(0, len(good), 150):
        bad = bytearray(good)
        bad[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(bytes(bad))
        try:
            assert load(path).digest == digest  # a bit that no reader looks at
        except InputError as error:
            assert "x.npz" in str(error)


def test_a_folder_of_images_is_resized_and_labelled(tmp_path: Path) -> None:
    for split in ("train", "val", "test"):
        for label, value in (("healthy", 40), ("sick", 200)):
            folder = tmp_path / split / label
            folder.mkdir(parents=True)
            for number in range(3):
                Image.new("RGB", (9, 7), (value,) * 3).save(folder / f"{number}.png")
    samples, _ = loading.load(
        str(tmp_path),
        input_shape=SHAPE,
        output_shape=(2,),
        task="classification",
        pixels="signed",
    )
    assert samples.labels == ("healthy", "sick")
    assert samples.y_test.tolist() == [0, 0, 0, 1, 1, 1]
    assert samples.x_test[3].flat[0] == pytest.approx(200 / 127.5 - 1)


def test_a_broken_image_is_named(tmp_path: Path) -> None:
    for split in ("train", "test"):
        (tmp_path / split / "a").mkdir(parents=True)
        (tmp_path / split / "a" / "broken.png").write_bytes(b"\x89PNG not really")
    with pytest.raises(InputError, match=r"broken\.png: not an image"):
        load(tmp_path)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP"])
def test_a_damaged_image_is_named_or_read(tmp_path: Path, form: str) -> None:
    rng = np.random.default_rng(5)
    for split in ("train", "val", "test"):
        for label in "abc":
            (tmp_path / split / label).mkdir(parents=True)
            Image.new("L", (9, 7)).save(tmp_path / split / label / "good.png")
    whole = io.BytesIO()
    Image.fromarray(rng.integers(0, 255, (9, 9, 3), dtype=np.uint8)).save(whole, form)
    victim = tmp_path / "test" / "b" / "bad.png"
    for round_ in range(60):
        bad = bytearray(whole.getvalue())
        for place in rng.integers(0, len(bad), 2):
            bad[place] = rng.integers(256)
        victim.write_bytes(bytes(bad[: rng.integers(1, len(bad))] if round_ % 3 == 0 else bad))
        try:
            assert len(load(tmp_path).x_test) == 4
        except InputError as error:
            assert "bad.png" in str(error)


def test_a_users_function_cannot_end_or_answer_for_us(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script = tmp_path / "mine.py"
    script.write_text(
        "import sys\n"
        "def leave():\n    print('bye')\n    sys.exit(0)\n"
        "def ragged():\n    return {'x': [[1, 2], [3]]}\n"
        "number = 3\n"
    )
    with pytest.raises(InputError, match="raised SystemExit: 0"):
        load(Path(f"{script}:leave"))
    assert capsys.readouterr() == ("", "bye\n")
    with pytest.raises(InputError, match=r"raised ValueError: .*inhomogeneous"):
        load(Path(f"{script}:ragged"))
    with pytest.raises(InputError, match="has no function 'number'"):
        load(Path(f"{script}:number"))


def test_a_users_function_is_called_and_its_failure_named(tmp_path: Path) -> None:
    script = tmp_path / "mine.py"
    script.write_text(
        "import numpy as np\n"
        "def good():\n"
        "    return {'x': np.zeros((40, 4, 4, 1)), 'y': np.arange(40) % 3}\n"
        "def bad():\n    raise ValueError('no disk')\n"
    )
    assert len(load(Path(f"{script}:good")).x_test) == 10
    with pytest.raises(InputError, match="raised ValueError: no disk"):
        load(Path(f"{script}:bad"))
    with pytest.raises(InputError, match="has no function 'other'"):
        load(Path(f"{script}:other"))


def test_equal_rows_have_equal_digests_whatever_their_dtype() -> None:
    x = np.arange(8, dtype=np.uint8).reshape(2, 4)
    assert loading.row_digests(x) == loading.row_digests(x.astype(np.float64))


def numbers(folder: Path, y: Any, width: int = 3) -> Path:
    """Save 30 + 10 + 20 rows of ``width`` numbers, each part with its share of ``y``."""
    x = np.random.default_rng(0).random((60, width)).astype(np.float32)
    parts = {"train": slice(0, 30), "val": slice(30, 40), "test": slice(40, 60)}
    made = {f"x_{split}": x[rows] for split, rows in parts.items()}
    if y is not None:
        given = x if y is np.copy else y
        made |= {f"y_{split}": given[rows] for split, rows in parts.items()}
    path = folder / "n.npz"
    np.savez(path, **made)
    return path


def guessed(path: Path, hint: TaskHint, width: int = 3) -> tuple[Samples, str]:
    return loading.load(
        str(path), input_shape=(3,), output_shape=(width,), task=None, hint=hint
    )


BINARY = TaskHint(task="classification", loss="binary_crossentropy")
MARKS = np.random.default_rng(2).integers(0, 2, (60, 3))


def test_an_autoencoder_needs_no_task_given(tmp_path: Path) -> None:
    hint = TaskHint(task="reconstruction", loss="binary_crossentropy")
    for y in (None, np.copy):
        samples, task = guessed(numbers(tmp_path, y), hint)
        assert task == "reconstruction"
        assert (samples.y_test == samples.x_test).all()


def test_rows_that_mark_several_labels_are_multilabel(tmp_path: Path) -> None:
    samples, task = guessed(numbers(tmp_path, MARKS), BINARY)
    assert (task, samples.y_train.dtype) == ("multilabel", np.float32)
    assert (samples.y_test == MARKS[40:]).all()


def test_labels_of_hinge_are_mapped(tmp_path: Path) -> None:
    y = np.arange(60) % 2 * 2 - 1
    hint = TaskHint(task="classification", loss="hinge", signed_labels=True)
    samples, _ = guessed(numbers(tmp_path, y), hint, 1)
    assert samples.y_val.tolist() == (np.arange(30, 40) % 2).tolist()
    with pytest.raises(InputError, match="Received: -1"):
        guessed(numbers(tmp_path, y), BINARY, 1)


def test_a_wrong_guess_names_itself_and_the_option(tmp_path: Path) -> None:
    path = numbers(tmp_path, np.full(60, 9))
    with pytest.raises(
        InputError, match="classification was guessed because the model's loss is"
    ):
        guessed(path, BINARY, 1)
    with pytest.raises(InputError, match=r"--task multilabel\|regression\|reconstruction"):
        guessed(path, BINARY, 1)
    with pytest.raises(InputError) as told:
        loading.load(
            str(path), input_shape=(3,), output_shape=(1,), task="classification", hint=BINARY
        )
    assert "guessed" not in str(told.value)


def test_an_unknown_task_is_asked_for(tmp_path: Path) -> None:
    path = numbers(tmp_path, MARKS)
    with pytest.raises(UsageError, match="cosine_similarity, which fits several; give --task"):
        guessed(path, TaskHint(task=None, loss="cosine_similarity"))


@pytest.mark.parametrize(
    ("y", "says"),
    [
        (MARKS * 0.5, "marked with 0 or 1. Received: 0.5.*--task regression"),
        (MARKS[:, :2], "a 0 or 1 for each of 3 labels"),
    ],
)
def test_labels_that_are_no_marks_are_refused(tmp_path: Path, y: Any, says: str) -> None:
    with pytest.raises(InputError, match=says):
        loading.load(
            str(numbers(tmp_path, y)), input_shape=(3,), output_shape=(3,), task="multilabel"
        )


def test_a_map_of_classes_is_no_row_of_them(tmp_path: Path) -> None:
    path = numbers(tmp_path, np.zeros((60, 2, 3)))
    with pytest.raises(InputError, match=r"each of 2 places \(segmentation"):
        loading.load(str(path), input_shape=(3,), output_shape=(2, 3), task="classification")

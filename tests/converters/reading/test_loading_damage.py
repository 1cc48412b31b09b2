"""A damaged model is refused or loads; nothing else happens, whatever the byte."""

from __future__ import annotations

import json
import random
import shutil
import zipfile
from pathlib import Path
from typing import Any

import pytest

from converters.errors import ModelRefused
from converters.reading.loading import load
from tests.converters.saved_models import save, small

pytestmark = [
    pytest.mark.train,
    pytest.mark.filterwarnings("ignore:You are saving your model:UserWarning"),
]


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_a_cut_off_file_is_refused(
    saved: tuple[str, Any, Path], tmp_path: Path, share: float
) -> None:
    _, _, path = saved
    for name in ("", "saved_model.pb", "variables/variables.index") if path.is_dir() else ("",):
        copy = tmp_path / path.name
        if path.is_dir():
            shutil.copytree(path, copy, dirs_exist_ok=True)
        if path.is_dir() and not name:
            continue
        whole = (path / name).read_bytes() if name else path.read_bytes()
        (copy / name if name else copy).write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(ModelRefused) as caught:
            load(copy)
        assert str(caught.value).isprintable()


def test_flipped_bits_are_refused_or_load(saved: tuple[str, Any, Path], tmp_path: Path) -> None:
    kind, _, path = saved
    chance = random.Random(kind)
    copy = tmp_path / path.name
    for _ in range(25):
        if path.is_dir():
            shutil.copytree(path, copy, dirs_exist_ok=True)
        else:
            shutil.copy(path, copy)
        files = sorted(p for p in copy.rglob("*") if p.is_file()) if path.is_dir() else [copy]
        damaged = chance.choice(files)
        content = bytearray(damaged.read_bytes())
        content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
        damaged.write_bytes(content)
        try:
            load(copy)
        except ModelRefused as fault:
            assert str(fault).isprintable()


@pytest.mark.parametrize("kind", ["tf_keras-zip", "keras-v3-zip", "savedmodel"])
def test_changed_settings_are_refused_or_load(
    k2: Any, k3: Any, tmp_path: Path, kind: str
) -> None:
    """Whole files whose config was changed at random: checksums do not help here."""
    path = save(small(k3 if kind == "keras-v3-zip" else k2), kind, tmp_path)
    chance = random.Random(kind)
    odd = [None, True, 0, -1, 3, 10**9, 2**70, 1e308, "", "relu", "Lambda", [], {}, [10**5] * 2]
    for _ in range(20):
        if kind == "savedmodel":
            # the metadata are a length-prefixed text: swap one character for another
            raw = bytearray((path / "keras_metadata.pb").read_bytes())
            raw[chance.randrange(60, len(raw))] = ord(chance.choice('0189"[]{},:aZ'))
            (path / "keras_metadata.pb").write_bytes(raw)
        else:
            with zipfile.ZipFile(path) as archive:
                members = {name: archive.read(name) for name in archive.namelist()}
            config = json.loads(members["config.json"])
            holder, key = chance.choice(list(_places(config)))
            holder[key] = chance.choice(odd)
            members["config.json"] = json.dumps(config).encode()
            with zipfile.ZipFile(tmp_path / "odd.keras", "w") as archive:
                for name, data in members.items():
                    archive.writestr(name, data)
        try:
            load(path if kind == "savedmodel" else tmp_path / "odd.keras")
        except ModelRefused as fault:
            assert str(fault).isprintable()


def _places(value: Any) -> Any:
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in list(pairs):
        yield value, key
        if isinstance(inner, (dict, list)):
            yield from _places(inner)

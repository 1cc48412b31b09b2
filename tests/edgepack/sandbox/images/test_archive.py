"""Laws of the image archive: the same content is the same image, everywhere."""

import hashlib
import io
import json
import os
import tarfile
from pathlib import Path

import pytest

from edgepack.sandbox.images.archive import image, layer


def fill(folder: Path, names: list[str]) -> None:
    for name in names:
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(name)
    (folder / "link").symlink_to("a/x")
    (folder / "run").write_text("#!")
    (folder / "run").chmod(0o700)


def test_a_layer_depends_on_content_and_on_nothing_else(tmp_path: Path) -> None:
    one, other = tmp_path / "1", tmp_path / "2"
    names = ["a/x", "b", "a.x"]
    for folder, order in ((one, names), (other, names[::-1])):
        folder.mkdir()
        fill(folder, order)
    os.utime(other / "b", (1, 1))
    (other / "b").chmod(0o600)
    assert layer(one) == layer(other)
    (other / "b").write_text("changed")
    assert layer(one) != layer(other)


def test_a_layer_belongs_to_root_and_keeps_what_runs(tmp_path: Path) -> None:
    fill(tmp_path, ["a/x"])
    with tarfile.open(fileobj=io.BytesIO(layer(tmp_path))) as tar:
        found = {member.name: member for member in tar}
    assert sorted(found) == ["a", "a/x", "link", "run"]
    assert {(m.uid, m.gid, m.uname) for m in found.values()} == {(0, 0, "")}
    assert found["run"].mode == 0o755
    assert found["a/x"].mode == 0o644
    assert found["link"].linkname == "a/x"


@pytest.mark.parametrize(
    ("arch", "wanted"),
    [("amd64", ("amd64", None)), ("arm64", ("arm64", "v8")), ("armv7", ("arm", "v7"))],
)
def test_an_image_says_its_processor_and_its_id_is_its_config(
    arch: str, wanted: tuple[str, str | None]
) -> None:
    packed, identity = image(
        [b"one", b"two"], arch=arch, tag="t:1", env={"B": "2", "A": "1"}, labels={"l": "v"}
    )
    with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
        files = {m.name: tar.extractfile(m).read() for m in tar}  # type: ignore[union-attr]
    manifest = json.loads(files["manifest.json"])[0]
    config = files[manifest["Config"]]
    assert identity == "sha256:" + hashlib.sha256(config).hexdigest()
    told = json.loads(config)
    assert (told["architecture"], told.get("variant")) == wanted
    assert told["config"]["Env"] == ["A=1", "B=2"]
    assert told["config"]["User"] == "65534:65534"
    layers = [files[name] for name in manifest["Layers"]]
    assert told["rootfs"]["diff_ids"] == [
        "sha256:" + hashlib.sha256(one).hexdigest() for one in layers
    ]

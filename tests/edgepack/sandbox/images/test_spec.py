"""Laws of choosing an image, and of what makes one stale."""

from pathlib import Path

import pytest

from edgepack.errors import UsageError
from edgepack.profiles import catalogue
from edgepack.profiles.profile import CarriedRuntime
from edgepack.sandbox.images.spec import (
    ARCHES,
    ImageSpec,
    choose,
    docker_folder,
    inputs_digest,
    known,
)

NAMES = [
    name
    for name in catalogue.names()
    if catalogue.load(name).kind not in ("mcu", "npu")
    and catalogue.load(name).cpu.isa in ARCHES
]


def runtime(name: str, version: str) -> CarriedRuntime:
    return CarriedRuntime.model_validate({"name": name, "version": version, "source": "test"})


@pytest.mark.parametrize("name", NAMES)
def test_every_built_in_application_device_has_its_very_image(name: str) -> None:
    profile = catalogue.load(name)
    spec, remark = choose(profile.runtime, profile.cpu.isa)
    assert remark == ""
    assert spec.version == profile.runtime.version


@pytest.mark.parametrize(
    ("name", "version", "arch", "wanted"),
    [
        ("tflite", "2.14.0", "armv7", "tflite-runtime:2.14.0-armv7"),
        ("tflite", "2.16.1", "arm64", "tflite-runtime:2.14.0-arm64"),
        ("tflite", "2.9.0", "amd64", "tflite-runtime:2.9.1-amd64"),
        ("tflite", "2.9.0", "armv7", "tflite-runtime:2.14.0-armv7"),
        ("litert", "1.4.1", "arm64", "ai-edge-litert:1.4.0-arm64"),
        ("litert", "2.3.0", "arm64", "ai-edge-litert:2.1.6-arm64"),
        ("litert", "1.4.0", "armv7", "tflite-runtime:2.14.0-armv7"),
    ],
)
def test_another_version_is_judged_in_the_nearest_and_said(
    name: str, version: str, arch: str, wanted: str
) -> None:
    spec, remark = choose(runtime(name, version), arch)
    assert spec.tag == f"edgepack/{wanted}"
    assert bool(remark) == (
        version not in spec.version or (name == "litert" and arch == "armv7")
    )
    if remark:
        assert version in remark
        assert spec.version in remark


def test_a_runtime_without_an_image_names_what_there_is() -> None:
    with pytest.raises(UsageError, match="there is ai-edge-litert"):
        choose(runtime("tflm", "2024"), "armv7")


@pytest.mark.parametrize("spec", known(), ids=lambda spec: spec.tag)
def test_every_image_has_its_lock_and_package_list(spec: ImageSpec) -> None:
    folder = docker_folder()
    text = (folder / spec.requirements).read_text()
    assert f"{spec.package}=={spec.version}" in text
    assert spec.arch in text.splitlines()[0], "the lock's first line names its processors"
    assert (folder / "packages" / f"{spec.suite}.txt").read_text().split()


def test_an_image_is_stale_once_an_input_changes(tmp_path: Path) -> None:
    import shutil

    folder = tmp_path / "docker"
    shutil.copytree(docker_folder(), folder)
    arm = ImageSpec("tflite-runtime", "2.14.0", "armv7")
    plain = ImageSpec("tflite-runtime", "2.14.0", "amd64")
    before = {spec: inputs_digest(spec, folder) for spec in (arm, plain)}
    assert before[arm] != before[plain]
    assert before[arm] == inputs_digest(arm, docker_folder())
    plugin = folder / "plugin/count.c"
    plugin.write_text(plugin.read_text() + "\n")
    assert inputs_digest(arm, folder) != before[arm]
    assert inputs_digest(plain, folder) == before[plain], "it carries no emulator"
    lock = folder / plain.requirements
    lock.write_text(lock.read_text() + "\n")
    assert inputs_digest(plain, folder) != before[plain]

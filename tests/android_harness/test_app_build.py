"""The app compiles against honest stubs and becomes a signed APK that asks for nothing."""

from __future__ import annotations

import importlib.util
import shutil
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

pytestmark = pytest.mark.tools

HARNESS = Path(__file__).resolve().parents[2] / "android_harness"
ANDROID = "{http://schemas.android.com/apk/res/android}"


@pytest.fixture(scope="module")
def check() -> Iterator[Any]:
    """Yield the build check's module, under a name that no package has."""
    place = HARNESS / "verify/build.py"
    spec = importlib.util.spec_from_file_location("android_build_check", place)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    before = list(sys.path)
    sys.modules["android_build_check"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    yield module
    sys.path[:] = before
    for name in ("android_build_check", "kit", "levels"):
        sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def kit(check: Any) -> Any:
    try:
        return check.kits.find()
    except check.kits.Missing as missing:
        pytest.skip(str(missing))


@pytest.mark.parametrize("flavour", ["legacy", "modern"])
def test_the_app_becomes_a_signed_apk(
    check: Any, kit: Any, tmp_path: Path, flavour: str
) -> None:
    built = check.build(kit, tmp_path, flavour)
    assert built.schemes == ("v1", "v2", "v3")
    assert built.permissions == ()
    assert f"package: name='org.edgepack.harness.{flavour}'" in built.badging
    assert f"sdkVersion:'{check.MIN_SDK[flavour]}'" in built.badging
    assert "application-debuggable" in built.badging  # run-as needs it
    assert built.guarded == ("android.os.PowerManager.getCurrentThermalStatus(0)",)
    sources = {
        ".".join(path.relative_to(check.SOURCES).with_suffix("").parts)
        for path in check.SOURCES.rglob("*.java")
    }
    assert sources <= set(built.classes)
    assert not [name for name in built.classes if not name.startswith("org.edgepack.")]


def test_the_app_compiles_as_java_7_against_the_stubs(check: Any, tmp_path: Path) -> None:
    if shutil.which("javac") is None:
        pytest.skip("no JDK here (Debian: apt-get install default-jdk-headless)")
    check._javac(sorted(check.STUBS.rglob("*.java")), tmp_path / "stubs", ())
    config = tmp_path / "BuildConfig.java"
    config.write_text(check._config("legacy"))
    sources = [config, *sorted(check.SOURCES.rglob("*.java"))]
    check._javac(sources, tmp_path / "app", (tmp_path / "stubs",))
    assert (tmp_path / "app/org/edgepack/harness/Harness.class").is_file()


def test_an_invented_member_is_found_out(check: Any, kit: Any, tmp_path: Path) -> None:
    source = tmp_path / "android/os/Debug.java"
    source.parent.mkdir(parents=True)
    source.write_text(
        "package android.os;\npublic final class Debug {\n"
        "    public static long getPss() { return 0; }\n"
        "    public static long getMiracle() { return 0; }\n}\n"
    )
    check._javac([source], tmp_path / "stubs", ())
    with pytest.raises(check.Broken, match=r"getMiracle\(0\): the platform has no such"):
        check.check_stubs(kit, tmp_path / "stubs")


def test_a_young_call_without_a_guard_is_found_out(
    check: Any, kit: Any, tmp_path: Path
) -> None:
    source = tmp_path / "android/app/Instrumentation.java"
    source.parent.mkdir(parents=True)
    source.write_text(
        "package android.app;\npublic class Instrumentation {\n"
        "    public String getProcessName() { return null; }\n}\n"
    )
    check._javac([source], tmp_path / "stubs", ())
    with pytest.raises(check.Broken, match=r"getProcessName\(0\): since API 26, not guarded"):
        check.check_stubs(kit, tmp_path / "stubs")


def test_the_level_check_before_a_young_call_is_seen(check: Any) -> None:
    guarded = (
        "int SINCE = 29;\nif (Build.VERSION.SDK_INT >= SINCE) {\n power.getThermal();\n}\n"
    )
    assert check._stands_before(guarded, "SINCE", "getThermal", 29)
    assert not check._stands_before(guarded, "SINCE", "getThermal", 30)
    assert not check._stands_before(guarded + "power.getThermal();", "SINCE", "getThermal", 29)


def test_the_app_asks_for_no_permission_and_opens_no_door() -> None:
    root = ElementTree.parse(HARNESS / "app/src/main/AndroidManifest.xml").getroot()
    tags = {element.tag for element in root.iter()}
    assert tags == {
        "manifest",
        "application",
        "activity",
        "uses-native-library",
        "instrumentation",
    }
    assert {e.get(f"{ANDROID}exported") for e in root.iter("activity")} == {"false"}
    assert root.find("application").get(f"{ANDROID}allowBackup") == "false"  # type: ignore[union-attr]
    text = "\n".join(p.read_text("utf-8") for p in (HARNESS / "app/src/main").rglob("*.java"))
    for word in ("java.net", "android.net", "Socket", "exec(", "loadLibrary", "DexClassLoader"):
        assert word not in text, word


def test_gradle_and_the_build_check_agree(check: Any) -> None:
    versions = tomllib.loads((HARNESS / "gradle/libs.versions.toml").read_text())["versions"]
    script = (HARNESS / "app/build.gradle.kts").read_text()
    for flavour, (name, version) in check.RUNTIME.items():
        assert versions[name] == version
        block = script.split(f'create("{flavour}")')[1]
        assert f'applicationIdSuffix = ".{flavour}"' in block
        assert f'"RUNTIME", "\\"{name}\\""' in block
    assert "minSdk = 21" in script
    assert "minSdk = 23" in script.split('create("modern")')[1]
    from edgepack.device.backends.app import PACKAGES

    assert {name: f"org.edgepack.harness.{name}" for name in check.MIN_SDK} == PACKAGES


def test_every_piece_is_pinned_and_no_host_is_named(check: Any) -> None:
    pins = check.kits.pins()
    assert all(len(pin["sha256"]) == 64 and pin["version"] for pin in pins["deb"])
    assert all(pin["integrity"].startswith("sha512-") for pin in pins["npm"])
    for path in HARNESS.rglob("*"):
        if path.suffix in {".py", ".kts", ".toml", ".properties", ".java"}:
            for line in path.read_text("utf-8").splitlines():
                assert "://" not in line, f"{path}: {line}"

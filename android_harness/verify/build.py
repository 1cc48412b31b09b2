"""From Java to a signed APK without Gradle, as far as the pieces of this machine reach.

    python android_harness/verify/build.py OUT [legacy|modern]

javac against our android stubs (each checked against the platform's API levels), dx, aapt2,
zipalign, apksigner; then the tools' own verification. The APK holds our code only: neither
TensorFlow Lite's classes nor its libraries, so it proves the build, not a run.
"""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import kit as kits  # noqa: E402
import levels  # noqa: E402

HARNESS = Path(__file__).resolve().parent.parent
SOURCES = HARNESS / "app/src/main/java"
STUBS = HARNESS / "verify/stubs"
MIN_SDK = {"legacy": 21, "modern": 23}
RUNTIME = {"legacy": ("tflite", "2.16.1"), "modern": ("litert", "1.4.0")}
#: Calls younger than the lowest minSdk, and the check that must stand before each.
GUARDED = {"android.os.PowerManager.getCurrentThermalStatus(0)": (29, "THERMAL_STATUS_SINCE")}
_TARGET_SDK = 36
_EPOCH = (1980, 1, 1, 0, 0, 0)


class Broken(Exception):
    """A step failed; says which and its last words."""


@dataclass(frozen=True)
class Built:
    """What came out.

    Attributes:
        schemes: signature schemes that apksigner verified.
        permissions: what the APK asks for.
        badging: aapt's description of the APK.
    """

    apk: Path
    stub_members: int
    guarded: tuple[str, ...]
    schemes: tuple[str, ...]
    permissions: tuple[str, ...]
    badging: str
    classes: tuple[str, ...]


def build(kit: kits.Kit, out: Path, flavour: str) -> Built:
    """Return the verified APK of a flavour; ``out`` is a folder that is there and empty.

    Raises:
        Broken: any step failed, or a stub is not honest.
    """
    stubs, classes = out / "stubs", out / "classes"
    _javac(sorted(STUBS.rglob("*.java")), stubs, ())
    members, guarded = check_stubs(kit, stubs)
    config = out / "BuildConfig.java"
    config.write_text(_config(flavour))
    _javac([config, *sorted(SOURCES.rglob("*.java"))], classes, (stubs,))
    dex = out / "classes.dex"
    _run(
        ["java", "-cp", str(kit.dx), "com.android.dx.command.Main", "--dex"]
        + [f"--output={dex}", str(classes)],
        kit,
    )
    linked = _link(kit, out, flavour)
    with zipfile.ZipFile(linked, "a") as archive:
        entry = zipfile.ZipInfo("classes.dex", _EPOCH)
        entry.compress_type = zipfile.ZIP_DEFLATED
        archive.writestr(entry, dex.read_bytes())
    aligned, apk = out / "aligned.apk", out / f"edgepack-harness-{flavour}.apk"
    _run([str(kit.tool("zipalign")), "4", str(linked), str(aligned)], kit)
    _sign(kit, out, aligned, apk, MIN_SDK[flavour])
    _run([str(kit.tool("zipalign")), "-c", "4", str(apk)], kit)
    told = _run(["java", "-jar", str(kit.apksigner), "verify", "--verbose", str(apk)], kit)
    schemes = re.findall(r"^Verified using (v\d) scheme .*: true$", told, re.M)
    badging = _run([str(kit.tool("aapt2")), "dump", "badging", str(apk)], kit)
    permissions = re.findall(r"^uses-permission[^:]*: name='([^']+)'", badging, re.M)
    return Built(
        apk,
        members,
        guarded,
        tuple(schemes),
        tuple(permissions),
        badging,
        tuple(sorted(_dex_classes(dex.read_bytes()))),
    )


def check_stubs(kit: kits.Kit, stubs: Path) -> tuple[int, tuple[str, ...]]:
    """Return how many android members our stubs have, and which are guarded by the level.

    Raises:
        Broken: a member that the platform has not, or has later than the lowest minSdk
            without a guard in the source.
    """
    platform = levels.read(kit.levels)
    names = sorted(str(path) for path in stubs.rglob("*.class") if "android" in path.parts)
    found = list(levels.stubbed(_run(["javap", "-protected", *names], kit)))
    source = "\n".join(path.read_text("utf-8") for path in SOURCES.rglob("*.java"))
    wrong, guarded = [], []
    for member in found:
        since = platform.since(member)
        if since is None and member.name == "constructor":
            continue  # a constructor of ours that javac adds: nobody calls it
        if since is None:
            wrong.append(f"{member}: the platform has no such member")
        elif since > min(MIN_SDK.values()):
            level, guard = GUARDED.get(str(member), (0, ""))
            if level != since or not _stands_before(source, guard, member.name, since):
                wrong.append(f"{member}: since API {since}, not guarded")
            guarded.append(str(member))
    if wrong:
        raise Broken("; ".join(wrong))
    return len(found), tuple(guarded)


def _stands_before(source: str, guard: str, name: str, since: int) -> bool:
    said = re.search(rf"int {guard} = (\d+);", source)
    block = rf"if \(Build\.VERSION\.SDK_INT >= {guard}\) \{{[^}}]*\b{name}\("
    calls = len(re.findall(rf"\.{name}\(", source))
    return bool(said and int(said[1]) == since) and len(re.findall(block, source)) == calls


def _config(flavour: str) -> str:
    name, version = RUNTIME[flavour]
    return (
        "package org.edgepack.harness;\n\npublic final class BuildConfig {\n"
        f'    public static final String RUNTIME = "{name}";\n'
        f'    public static final String RUNTIME_VERSION = "{version}";\n}}\n'
    )


def _javac(sources: list[Path], out: Path, classpath: tuple[Path, ...]) -> None:
    out.mkdir()
    path = ["-cp", ":".join(map(str, classpath))] if classpath else []
    _run(
        ["javac", "--release", "7", "-Xlint:all,-options", "-Werror", *path, "-d", str(out)]
        + [str(source) for source in sources]
    )


def _link(kit: kits.Kit, out: Path, flavour: str) -> Path:
    text = (HARNESS / "app/src/main/AndroidManifest.xml").read_text("utf-8")
    package = f"org.edgepack.harness.{flavour}"
    text = text.replace("${applicationId}", package)
    text = text.replace("<manifest ", f'<manifest package="{package}" ', 1)
    # Debian's aapt2 is of Android 10 and does not know this element of Android 12
    text = re.sub(r"<uses-native-library[^>]*/>", "", text)
    manifest, linked = out / "AndroidManifest.xml", out / "linked.apk"
    manifest.write_text(text)
    _run(
        [str(kit.tool("aapt2")), "link", "--manifest", str(manifest), "-o", str(linked)]
        + ["-I", str(kit.framework), "--min-sdk-version", str(MIN_SDK[flavour])]
        + ["--target-sdk-version", str(_TARGET_SDK), "--debug-mode"]
        + ["--version-code", "1", "--version-name", "1"],
        kit,
    )
    return linked


def _sign(kit: kits.Kit, out: Path, aligned: Path, apk: Path, min_sdk: int) -> None:
    store = out / "throwaway.p12"  # made for this build, of no worth, and never kept
    _run(
        ["keytool", "-genkeypair", "-keystore", str(store), "-storetype", "PKCS12"]
        + ["-storepass", "throwaway", "-alias", "k", "-keyalg", "RSA", "-keysize", "2048"]
        + ["-validity", "2", "-dname", "CN=edgepack build check"],
        kit,
    )
    _run(
        ["java", "-jar", str(kit.apksigner), "sign", "--ks", str(store), "--ks-pass"]
        + ["pass:throwaway", "--v1-signing-enabled", "true", "--v2-signing-enabled", "true"]
        + ["--v3-signing-enabled", "true", "--min-sdk-version", str(min_sdk)]
        + ["--out", str(apk), str(aligned)],
        kit,
    )


def _dex_classes(dex: bytes) -> set[str]:
    """Return the classes that a dex file defines (dex-format, class_def_item)."""

    def word(at: int) -> int:
        return int.from_bytes(dex[at : at + 4], "little")

    strings, types = word(0x3C), word(0x44)
    count, definitions = word(0x60), word(0x64)
    found = set()
    for index in range(count):
        descriptor = word(types + 4 * word(definitions + 32 * index))
        at = word(strings + 4 * descriptor)
        while dex[at] & 0x80:  # the length, as ULEB128
            at += 1
        end = dex.index(b"\0", at + 1)
        found.add(dex[at + 1 : end].decode()[1:-1].replace("/", "."))
    return found


def _run(command: list[str], kit: kits.Kit | None = None) -> str:
    env = kit.environment if kit and "/debian/" in command[0] else None
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
    if done.returncode:
        last = " ".join((done.stderr or done.stdout).split())[-600:]
        raise Broken(f"{Path(command[0]).name} {' '.join(command[1:4])}: {last}")
    return done.stdout


def main(words: list[str]) -> int:
    if not words:
        print(__doc__)
        return 2
    try:
        flavour = words[1] if len(words) > 1 else "legacy"
        built = build(kits.find(), Path(words[0]), flavour)
    except (kits.Missing, Broken) as error:
        print(f"build: {error}", file=sys.stderr)
        return 1
    size = built.apk.stat().st_size
    print(f"{built.apk}: {size:,} B, signed {'+'.join(built.schemes)}")
    print(f"{built.stub_members} stub members exist in the platform; guarded: {built.guarded}")
    print(f"permissions: {', '.join(built.permissions) or 'none'}; not runnable: no runtime in it")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

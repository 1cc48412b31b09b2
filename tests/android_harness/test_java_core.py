"""The app's pure Java on a JVM, against Python's own answers; skipped where there is no JDK."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import subprocess
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest

from edgepack.bundle import archive as packing
from edgepack.device.backends.backend import expected_of
from edgepack.gates import device
from edgepack.measurements import device_report
from edgepack.device.backends.backend import RunRequest
from edgepack.measurements.report_model import BackendRef
from edgepack.profiles import catalogue
from tests.edgepack.manifests import manifest

pytestmark = pytest.mark.tools

HARNESS = Path(__file__).resolve().parents[2] / "android_harness"
CORE = HARNESS / "app/src/main/java/org/edgepack/harness/core"
BENCH = HARNESS / "app/src/test/java/org/edgepack/harness/core/Bench.java"
Java = Callable[..., tuple[int, Any]]


@pytest.fixture(scope="module")
def java(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Java]:
    """Yield a function that asks the bench: (0, its answer) or (3, why it refused)."""
    if shutil.which("javac") is None or shutil.which("java") is None:
        pytest.skip("no JDK here (Debian: apt-get install default-jdk-headless)")
    out = tmp_path_factory.mktemp("classes")
    options = ["-Xlint:all,-options", "-Werror", "-d", str(out)]
    core = [str(path) for path in sorted(CORE.glob("*.java"))]
    subprocess.run(["javac", "--release", "7", *options, *core], check=True)
    classes = ["-cp", str(out), str(BENCH)]
    subprocess.run(["javac", "--release", "8", *options, *classes], check=True)
    start = ["java", "-XX:TieredStopAtLevel=1", "-cp", str(out)]
    start.append("org.edgepack.harness.core.Bench")
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(start, text=True, encoding="utf-8", **pipes) as bench:

        def ask(*words: object) -> tuple[int, Any]:
            assert bench.stdin is not None and bench.stdout is not None
            bench.stdin.write("\t".join(map(str, words)) + "\n")
            bench.stdin.flush()
            answer = json.loads(bench.stdout.readline())
            return (3, answer["refused"]) if "refused" in answer else (0, answer["found"])

        yield ask


def members() -> dict[str, bytes]:
    profile = catalogue.load("clinic-tablet-1gb-armv7")
    return {
        packing.MODEL: b"TFL3 model",
        packing.PROFILE: profile.model_dump_json(by_alias=True).encode(),
        "golden/inputs.npy": packing.npy(np.zeros((4, 3), np.int8)),
        "golden/outputs.npy": packing.npy(np.arange(8, dtype=np.int8).reshape(4, 2)),
    }


def packed() -> bytes:
    files = members()
    made = manifest(
        files,
        name="caf\u00e9 \u5206\u985e",
        profile="clinic-tablet-1gb-armv7",
        preprocessing='raw "as is" \\ /255',
        golden_rows=4,
        provenance={"drop": -1.5e-7, "nested": [[], {}, None, True]},
    )
    return packing.pack(made, files, b"signature")


def rezipped(change: Callable[[dict[str, bytes]], None]) -> bytes:
    with zipfile.ZipFile(io.BytesIO(packed())) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    change(files)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return out.getvalue()


def put(path: Path, data: bytes) -> tuple[Path, str]:
    path.write_bytes(data)
    return path, hashlib.sha256(data).hexdigest()


def test_java_and_python_read_the_same_bundle(java: Java, tmp_path: Path) -> None:
    code, found = java("bundle", *put(tmp_path / "b", packed()))
    wanted = packing.unpack(packed(), "b")
    assert code == 0
    assert found == {
        "name": wanted.manifest.name,
        "profile": wanted.manifest.profile,
        "model": hashlib.sha256(wanted.model).hexdigest(),
    }


@pytest.mark.parametrize(
    ("says", "change"),
    [
        ("differs from its digest", lambda f: f.update({packing.MODEL: b"TFL3 m0del"})),
        ("not named in the manifest", lambda f: f.update({"extra": b"x"})),
        ("is missing", lambda f: f.pop("golden/inputs.npy")),
        ("holds no manifest.json", lambda f: f.pop("manifest.json")),
        ("leave its folder", lambda f: f.update({"../evil": b"x"})),
        ("leave its folder", lambda f: f.update({"/etc/evil": b"x"})),
        ("leave its folder", lambda f: f.update({"a/./b": b"x"})),
        ("leave its folder", lambda f: f.update({"a\\b": b"x"})),
        ("JSON", lambda f: f.update({"manifest.json": b"{"})),
        ("JSON", lambda f: f.update({"manifest.json": b"[" * 100_000})),
        ("wanted schema", lambda f: f.update({"manifest.json": b"{}"})),
    ],
)
def test_a_bundle_that_python_refuses_java_refuses(
    java: Java, tmp_path: Path, says: str, change: Callable[[dict[str, bytes]], None]
) -> None:
    data = rezipped(change)
    with pytest.raises(Exception, match=r"."):
        packing.unpack(data, "b")
    code, line = java("bundle", *put(tmp_path / "b", data))
    assert code == 3
    assert says in line


@pytest.mark.parametrize("cut", [0, 10, 0.5, -1])
def test_a_truncated_bundle_is_refused(java: Java, tmp_path: Path, cut: float) -> None:
    whole = packed()
    data = whole[: int(len(whole) * cut) if isinstance(cut, float) else cut]
    code, line = java("bundle", *put(tmp_path / "b", data))
    assert (code, "\n" in line) == (3, False)


def test_a_bundle_of_another_digest_is_not_even_opened(java: Java, tmp_path: Path) -> None:
    path, _ = put(tmp_path / "b", packed())
    code, line = java("bundle", path, "0" * 64)
    assert code == 3
    assert "another digest" in line


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6, dtype=np.int8).reshape(2, 3),
        np.arange(8, dtype=np.uint8).reshape(4, 2, 1),
        np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 2, 2),
        np.arange(5, dtype=np.int64),
    ],
)
def test_java_reads_numpys_arrays(java: Java, tmp_path: Path, array: Any) -> None:
    path, _ = put(tmp_path / "a.npy", packing.npy(array))
    code, found = java("npy", path)
    assert code == 0
    assert found == {
        "dtype": str(array.dtype),
        "rows": len(array),
        "axes": array.ndim - 1,
        "second_row": array[(len(array) + 1) % len(array)].tobytes().hex(),
    }


def _damaged() -> list[bytes]:
    good = packing.npy(np.arange(6, dtype=np.int8).reshape(2, 3))
    fortran = io.BytesIO()
    np.save(fortran, np.asfortranarray(np.arange(6, dtype=np.int8).reshape(2, 3)))
    big = packing.npy(np.arange(6, dtype=">i4"))
    return [good[:-1], good[:20], b"", b"PK" + good, fortran.getvalue(), big, good + b"x"]


@pytest.mark.parametrize("data", _damaged())
def test_java_refuses_arrays_of_another_form(java: Java, tmp_path: Path, data: bytes) -> None:
    code, line = java("npy", put(tmp_path / "a.npy", data)[0])
    assert (code, line.startswith("npy:")) == (3, True)


@pytest.mark.parametrize("count", [1, 2, 9, 10, 11, 1024, 16384, 16385, 70_001])
def test_javas_percentiles_and_thinning_are_ours(
    java: Java, tmp_path: Path, count: int
) -> None:
    times = np.random.default_rng(count).uniform(0.1, 9, count)
    path = tmp_path / "times"
    path.write_text("\n".join(map(repr, times.tolist())))
    code, found = java("samples", path)
    stride = 1
    while -(-count // stride) > 16384:
        stride *= 2
    kept = times[::stride]
    assert code == 0
    assert (found["seen"], found["stride"]) == (count, stride)
    assert found["samples_ms"] == kept.tolist()
    for name, share in (("p50_ms", 0.5), ("p90_ms", 0.9), ("max_ms", 1.0)):
        assert found[name] == np.quantile(kept, share, method="inverted_cdf")
    assert found["min_ms"] == kept.min()
    assert found["mean_ms"] == pytest.approx(kept.mean())


def test_json_goes_round_in_java(java: Java, tmp_path: Path) -> None:
    value = {"a": [1, -2.5e-3, 1e300, True, None, '\u00e9\n"\\\u2028\U0001f600'], "b": {}}
    path = tmp_path / "j"
    path.write_text(json.dumps(value, ensure_ascii=False), "utf-8")
    assert java("json", path) == (0, {"value": value})


@pytest.mark.parametrize("text", ['{"a":1,"a":2}', "[1,]", "01", '"\t"', "nul", "[1] x", "NaN"])
def test_java_refuses_what_is_no_json(java: Java, tmp_path: Path, text: str) -> None:
    path = tmp_path / "j"
    path.write_text(text)
    assert java("json", path)[0] == 3


DEVICE = {
    "device": {
        "manufacturer": "samsung",
        "model": "SM-T285",
        "fingerprint": "samsung/x",
        "sdk": 27,
        "release": "8.1",
        "abi": "armv7l",
        "cpus": 4,
        "ram_bytes": 900_000_000,
        "emulated": False,
    },
    "runtime": {"name": "tflite", "version": "2.16.1"},
    "before": {"battery_c": 30.0, "power_save": False},
    "after": {"battery_c": 31.5, "power_save": False},
}
GIVEN = {
    "identity": "1" * 64,
    "apk_sha256": "2" * 64,
    "mode": "full",
    "delegate": "cpu",
    "threads": "4",
    "warmup": "16",
    "seconds": "61.5",
}


def test_javas_report_is_of_the_schema_and_passes_the_gates(java: Java, tmp_path: Path) -> None:
    data = packed()
    path, digest = put(tmp_path / "b", data)
    times = tmp_path / "times"
    times.write_text("\n".join(str(55 + (i % 7) / 10) for i in range(1024)))
    run_request = RunRequest(bundle=packing.unpack(data, "b"), data=data, threads=4)
    ref = BackendRef(name="app", version="1", sha256="2" * 64)
    identity = run_request.identity(ref)  # type: ignore[arg-type]  # its name and digest are enough
    settings = {**GIVEN, "bundle_sha256": digest, "identity": identity}
    given = [f"{key}={value}" for key, value in settings.items()]
    out = tmp_path / "report.json"
    assert java("report", times, out, path, digest, json.dumps(DEVICE), *given) == (0, {})
    jsonschema.validate(json.loads(out.read_text()), device_report.schema())
    report = device_report.read(out.read_bytes(), "r")
    assert report.says == "ran to its end"
    expected = expected_of(
        packing.unpack(data, "b"), digest, identity=identity, backend_sha256="2" * 64, golden_lsb=0
    )
    profile = catalogue.load("clinic-tablet-1gb-armv7")
    found = device.judge(report, profile, expected)
    assert {f.gate: f.verdict.value for f in found.findings if f.verdict != "pass"} == {}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("identity", "../../evil"),
        ("bundle_sha256", "x"),
        ("delegate", "dsp"),
        ("mode", "short"),
        ("threads", "0"),
        ("threads", "65"),
        ("warmup", "-1"),
        ("affinity", "f"),
    ],
)
def test_java_refuses_a_wrong_request(java: Java, tmp_path: Path, key: str, value: str) -> None:
    path, digest = put(tmp_path / "b", packed())
    times = tmp_path / "times"
    times.write_text("1.0")
    given = {**GIVEN, "bundle_sha256": digest, key: value}
    words = [f"{name}={word}" for name, word in given.items()]
    code, line = java("report", times, tmp_path / "r", path, digest, json.dumps(DEVICE), *words)
    assert code == 3
    assert line.startswith(key)

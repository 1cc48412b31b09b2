"""The self-contained folder really runs a bundle as arm64 and armv7 code, over a link."""

from __future__ import annotations

import hashlib
import json
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest

from edgepack.bundle import archive as packing
from edgepack.device.backends.backend import RunRequest, expected_of
from edgepack.device.backends.portable import Portable, pack_folder, run_of
from edgepack.device.links.ssh import SshLink
from edgepack.errors import EnvironmentMissing, UsageError
from edgepack.gates import device
from edgepack.gates.finding import Outcome
from edgepack.inference.host import HostRuntime
from edgepack.inference.protocol import ExitStatus, Job, Trace
from edgepack.measurements import device_report
from edgepack.profiles import catalogue
from tests.edgepack.manifests import manifest


@pytest.fixture
def board(tmp_path: Path) -> SshLink:
    """Return a board that is this machine's shell behind an ``ssh`` of two arguments."""
    program = tmp_path / "ssh"
    program.write_text('#!/bin/sh\nshift\nexec sh -c "$1"\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return SshLink("pi@board", folder=str(tmp_path / "board"), program=(str(program),))


@pytest.fixture(scope="module")
def engine() -> Any:
    from edgepack.sandbox import engine as engines

    try:
        return engines.require()
    except EnvironmentMissing as error:
        pytest.skip(str(error))


def packed(model: bytes, profile: str) -> RunRequest:
    """Return a run request of a bundle around a real model, goldens of this host."""
    from edgepack.tflite.flatbuffer import read

    facts = read(model)
    tensor = facts.inputs[0]
    rng = np.random.default_rng(7)
    inputs = rng.integers(-128, 128, (4, *tensor.shape[1:]), dtype=np.int8)
    trace = HostRuntime().run(Job(model=model, inputs=inputs, kernels="reference"))
    assert trace.status is ExitStatus.OK and trace.outputs is not None, trace.says
    files = {
        packing.MODEL: model,
        packing.PROFILE: catalogue.load(profile).model_dump_json(by_alias=True).encode(),
        "golden/inputs.npy": packing.npy(inputs),
        "golden/outputs.npy": packing.npy(trace.outputs),
    }
    made = manifest(
        files,
        name="kws",
        profile=profile,
        verdict="inconclusive",
        proven=False,
        input={"shape": tensor.shape[1:], "dtype": "int8"},
        output={"shape": trace.outputs.shape[1:], "dtype": "int8"},
        golden_rows=4,
    )
    data = packing.pack(made, files, None)
    return RunRequest(bundle=packing.unpack(data, "test"), data=data, mode="quick", warmup=2)


@pytest.mark.qemu
@pytest.mark.parametrize(
    ("package", "arch", "profile", "cpu"),
    [
        ("ai-edge-litert 1.4.0", "arm64", "raspberry-pi-zero-2-w", "cortex-a53"),
        ("tflite-runtime 2.14.0", "arm64", "raspberry-pi-zero-2-w", "cortex-a53"),
        ("tflite-runtime 2.14.0", "armv7", "clinic-tablet-1gb-armv7", "cortex-a7"),
    ],
)
def test_the_folder_runs_a_bundle_as_arm_code(  # noqa: PLR0917
    package: str,
    arch: str,
    profile: str,
    cpu: str,
    engine: Any,
    board: SshLink,
    shared_data: Callable[[str], Path],
) -> None:
    from edgepack.sandbox.images.maker import emulators
    from edgepack.sandbox.images.spec import ImageSpec, docker_folder

    model = shared_data("mlperf_tiny/keyword_spotting/kws_ref_model.tflite").read_bytes()
    spec = ImageSpec(*package.split(), arch)
    try:
        archive = pack_folder(engine, spec)
    except EnvironmentMissing as error:
        pytest.skip(str(error))
    kit = emulators(engine, docker_folder(), lambda line: None)
    emulator = f"{kit}/ld.so --library-path {kit}/lib {kit}/{spec.emulator} -cpu {cpu}"
    run_request = packed(model, profile)
    backend = Portable(archive=archive, emulator=emulator, kernels="reference")
    assert "installed" in backend.install(board)
    assert "was there" in backend.install(board)
    report = backend.run(board, run_request)
    assert (report.ending, report.says) == ("ok", "ran 4 rows")
    assert report.device.abi == {"arm64": "aarch64", "armv7": "armv7l"}[arch]
    assert report.runtime.version == package.split()[1]
    jsonschema.validate(json.loads(device_report.text(report)), device_report.schema())
    expected = expected_of(
        run_request.bundle,
        run_request.bundle_sha256,
        identity=run_request.identity(backend),
        backend_sha256=backend.sha256,
        golden_lsb=0,
    )
    found = device.judge(report, catalogue.load(profile), expected)
    gates = {each.gate: each for each in found.findings}
    assert gates["device_goldens"].verdict is Outcome.PASS, gates["device_goldens"].says
    assert gates["device_goldens"].value == 0  # bit for bit: both ran the reference kernels
    assert gates["device_hashes"].verdict is Outcome.PASS
    assert report.device.emulated
    if "latency" in gates:
        assert gates["latency"].verdict is Outcome.INCONCLUSIVE
    assert not list(Path(board.folder).glob("job-*"))


@pytest.mark.tools
def test_a_folder_that_cannot_be_unpacked_says_so_and_leaves_nothing(board: SshLink) -> None:
    backend = Portable(archive=b"no tar at all")
    with pytest.raises(Exception, match="cannot unpack the folder"):
        backend.install(board)
    assert not [p for p in Path(board.folder).iterdir() if p.suffix != ".tar"]


def test_the_gpu_is_no_path_of_a_folder(board: SshLink, agreed: Any) -> None:
    run_request = RunRequest(bundle=agreed.bundle, data=agreed.data, delegate="gpu")
    with pytest.raises(UsageError, match="CPU only"):
        Portable(archive=b"x").run(board, run_request)


@pytest.mark.parametrize("target", ["-oProxyCommand=evil", "a b", "", "x;y"])
def test_an_ssh_target_can_be_no_option(target: str) -> None:
    with pytest.raises(UsageError, match="user@host"):
        SshLink(target)


@pytest.mark.tools
def test_ssh_moves_bytes_and_exit_codes(board: SshLink) -> None:
    data = hashlib.shake_256(b"x").digest(100_000)
    board.push(data, f"{board.folder}/sub/file")
    assert board.pull(f"{board.folder}/sub/file", 100_000) == data
    assert board.run("echo a; exit 3").code == 3


@pytest.mark.parametrize(("seen", "kept", "stride"), [(1500, 1500, 1), (16386, 8193, 2)])
def test_a_thinned_run_says_its_stride(agreed: Any, seen: int, kept: int, stride: int) -> None:
    run_request = RunRequest(bundle=agreed.bundle, data=agreed.data)
    trace = Trace(status=ExitStatus.OK, says="ran", wall_ms=(50.0,) * kept, inferences=seen)
    run = run_of(trace, run_request, "default")
    assert (run.stride, run.queries) == (stride, seen)
    assert run.seconds == pytest.approx(max(60.0, 50.0 * kept * stride / 1e3))

"""What a build costs beside the calls it is made of: CPU seconds, as ratios of one run.

    python benchmarks/build_cost.py MODEL DATA.npz [--recipe prune-cluster-qat]

``raw`` is one process that loads the model, calls the stages, converts with TensorFlow's own
converter and answers the rows with LiteRT's own interpreter: no cache, no process beside
it, no gate. ``cold`` is ``edgepack build`` for one device with an empty cache; both must
give the same bytes. ``warm`` is the same again, then for several devices that take the same
file. Children are counted in. Bars: cold at most 1.1 of raw, a further device of the same
file below 0.2 s, TensorFlow started once for all conversions.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import resource
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgepack.files import sha256

ROOT = Path(__file__).resolve().parents[1]
PHONES = (
    *("pixel-4", "pixel-3", "midrange-phone-arm64", "raspberry-pi-3", "raspberry-pi-4"),
    *("clinic-tablet-1gb-armv7", "galaxy-a14"),
)
BOARDS = ("nucleo-u575zi-q", "nucleo-l4r5zi", "nucleo-h743zi2")
MOST_OF_RAW, MOST_A_DEVICE_S = 1.1, 0.2
#: Counts processes that import TensorFlow, by a finder that finds nothing.
COUNTING = """
import os, sys
class Counting:
    def find_spec(self, name, path=None, target=None):
        if name == "tensorflow":
            with open(os.environ["TENSORFLOW_STARTS"], "a") as file:
                file.write("x")
sys.meta_path.insert(0, Counting())
"""


@dataclass(frozen=True)
class Cost:
    """CPU seconds of a command with its children, and how often TensorFlow was started."""

    cpu_s: float
    starts: int
    stdout: str


def measured(command: Sequence[str], room: Path, cache: Path) -> Cost:
    """Return what ``command`` cost; it must succeed."""
    counting, starts = room / "counting", room / "starts"
    counting.mkdir(exist_ok=True)
    (counting / "sitecustomize.py").write_text(COUNTING)
    starts.write_text("")
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(counting), str(ROOT)]),
        "EDGEPACK_CACHE": str(cache),
        "TENSORFLOW_STARTS": str(starts),
    }
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, *command],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        check=False,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode not in (0, 3):  # 3: a gate failed, which costs as much
        raise SystemExit(f"{' '.join(command)}: exit code {done.returncode}")
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Cost(used, len(starts.read_text()), done.stdout)


def raw(model: Path, data: str, recipe_name: str) -> None:
    """Print digests of all files that the build makes too, made by direct calls."""
    from converters import keras2
    from converters.draft import Draft, Training
    from converters.quantized import int8
    from converters.reading.loading import load
    from converters.tflite import conversion
    from edgepack.pipeline import recipe
    from edgepack.pipeline.data import loading
    from edgepack.pipeline.workspace import training_setup

    tf = keras2.tf

    def convert(net: Any, parts: Any, *, per_channel_dense: bool = True) -> list[bytes]:
        """Do what ``conversion.convert`` does, in this process."""
        made = []
        with tempfile.TemporaryDirectory() as folder:
            conversion._export(net, tuple(net.input_shape[1:]), Path(folder))
            for rows in parts:
                converter = tf.lite.TFLiteConverter.from_saved_model(folder)
                if rows is not None:
                    calibrate(converter, np.asarray(rows, np.float32), per_channel_dense)
                made.append(converter.convert())
        return made

    def calibrate(converter: Any, rows: Any, per_channel_dense: bool) -> None:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([row[np.newaxis]] for row in rows)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.int8
        if not per_channel_dense:
            converter._experimental_disable_per_channel_quantization_for_dense_layers = True

    conversion.convert = convert  # type: ignore[assignment]
    chosen = recipe.load(recipe_name)
    net = load(model).model
    samples = loading.load(
        data,
        input_shape=net.input_shape[1:],
        output_shape=net.output_shape[1:],
        task="classification",
    )
    training = training_setup(Training(task="classification"), net, None, chosen.stages)
    drafts = [Draft(net)]
    for stage in chosen.stages:
        drafts.append(stage(drafts[-1], samples, training))
    files = [chosen.int8(draft, samples, training).tflite for draft in drafts]
    halves = chosen.int8.halves(drafts[-1], samples, training)
    keras2.predict(net, samples.x_test)
    for tflite in (int8.float_tflite(net), *files):
        answer(tflite, samples.x_test)
    for tflite in halves:
        answer(tflite, samples.x_val)
    answer(files[-1], samples.x_test[:16])  # as many goldens as a bundle has
    print(sha256(files[-1]))


def answer(tflite: bytes, x: Any) -> None:
    """Run every row as the build does: one thread, batch 1."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    model = Interpreter(
        model_content=tflite,
        num_threads=1,
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    model.allocate_tensors()
    tensor, out = model.get_input_details()[0], model.get_output_details()[0]
    scale, point = tensor["quantization"]
    codes = x.astype(np.float32)
    if scale:
        codes = np.clip(np.rint(x / scale) + point, -128, 127).astype(np.int8)
    for row in codes:
        model.set_tensor(tensor["index"], row[np.newaxis])
        model.invoke()
        model.get_tensor(out["index"])


def shipped(made: dict[str, Any]) -> str:
    """Return the digest of the model in the first bundle of a build."""
    path = made["products"][0]["bundle"]
    if path is None:
        raise SystemExit("the build gave no bundle: choose another model, recipe or device")
    with zipfile.ZipFile(io.BytesIO(Path(path).read_bytes())) as bundle:
        return sha256(bundle.read("model.tflite"))


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked.add_argument("model", type=Path)
    asked.add_argument("data")
    asked.add_argument("--recipe", default="prune-cluster-qat")
    asked.add_argument("--raw", action="store_true", help=argparse.SUPPRESS)
    given = asked.parse_args()
    if given.raw:
        raw(given.model, given.data, given.recipe)
        return
    from edgepack.profiles import catalogue

    known = set(catalogue.names())
    phones = [name for name in PHONES if name in known]
    boards = [name for name in BOARDS if name in known]
    with tempfile.TemporaryDirectory() as folder:
        room = Path(folder)
        what = [str(given.model), "--data", given.data, "--recipe", given.recipe]
        command = ["-m", "edgepack", "build", *what, "--out", str(room / "out")]
        command += ["--task", "classification", "--no-sandbox", "--json"]

        def build(*devices: str) -> Cost:
            named = [word for name in devices for word in ("-p", name)]
            return measured([*command, *named], room, room / "cache")

        calls = [__file__, str(given.model), given.data, "--recipe", given.recipe, "--raw"]
        direct = measured(calls, room, room / "none")
        cold = build(phones[0])
        assert shipped(json.loads(cold.stdout)) == direct.stdout.split()[-1], "other bytes"
        one, many = build(phones[0]), build(*phones)
        board, more = build(boards[0]), build(*boards)
    further = (many.cpu_s - one.cpu_s) / (len(phones) - 1)
    again = (more.cpu_s - board.cpu_s) / (len(boards) - 1)
    ratio = cold.cpu_s / direct.cpu_s
    print(f"raw calls       {direct.cpu_s:6.1f} s CPU, TensorFlow started {direct.starts}x")
    print(f"cold build      {cold.cpu_s:6.1f} s CPU, TensorFlow started {cold.starts}x")
    print(f"warm build      {one.cpu_s:6.2f} s CPU, TensorFlow started {one.starts}x")
    print(f"cold / raw      {ratio:6.2f} (bar {MOST_OF_RAW})")
    for what, seconds, names in (("device", further, phones), ("board", again, boards)):
        print(
            f"further {what:<7} {seconds:6.3f} s CPU (bar {MOST_A_DEVICE_S}; of {len(names)})"
        )
    raise SystemExit(ratio > MOST_OF_RAW or max(further, again) > MOST_A_DEVICE_S)


if __name__ == "__main__":
    main()

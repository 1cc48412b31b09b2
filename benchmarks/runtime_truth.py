"""Ask runtimes what they really run, and write the tables of edgepack/compat from it.

    python benchmarks/runtime_truth.py models DIR
    PYTHON benchmarks/runtime_truth.py ask DIR tflite-2.14.0     # once a release, its Python
    PYTHON benchmarks/runtime_truth.py delegated DIR tflite-2.14.0
    python benchmarks/runtime_truth.py table DIR

``ask`` needs numpy and the runtime only, and Python 3.8 or newer: it runs in the
environment of each release. Every model runs in a child of its own, because a refusal can
be a crash. ``models`` and ``table`` need this checkout.
"""

import json
import os
import pickle
import sys
from pathlib import Path

LINES = ("tflite", "litert", "tflm")


def write_models(folder):
    """Write the operator zoo and one model per operator code and version."""
    from ai_edge_litert import schema_py_generated as schema

    from tests.edgepack.delegatezoo import variants
    from tests.edgepack.opzoo import cases
    from tests.edgepack.tinymodels import CODES, Net, pack

    zoo = [(str(c), c.op, c.dtype, c.version, c.variant, c.honest, c.model) for c in cases()]
    codes = {}
    for name, code in CODES.items():
        if name in ("CUSTOM", "DELEGATE", "PLACEHOLDER_FOR_GREATER_OP_CODES"):
            continue
        for version in range(1, 25):
            net = Net()
            x = net.tensor((1,), "float32")
            listed = schema.OperatorCodeT()
            listed.builtinCode, listed.version = code, version
            listed.deprecatedBuiltinCode = min(code, 127)
            model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(net.done([x], [x]), 0))
            model.operatorCodes = [listed]
            if version == 1:  # a node too: TFLM looks up only what a node uses
                node = schema.OperatorT()
                node.inputs, node.outputs = [0], [0]
                with_node = schema.ModelT.InitFromObj(schema.Model.GetRootAs(pack(model), 0))
                with_node.subgraphs[0].operators = [node]
                codes[name, "node"] = pack(with_node)
            codes[name, version] = pack(model)
    with Path(folder, "models.pkl").open("wb") as file:
        pickle.dump((zoo, codes, list(variants())), file, 2)
    print(len(zoo), "models of", len({z[1] for z in zoo}), "operators")


def _interpreter(line, plain=True):
    if line == "tflm":
        from tflite_micro import runtime

        return lambda model: runtime.Interpreter.from_bytes(model, arena_size=1 << 20)
    try:
        if line == "litert":
            from ai_edge_litert.interpreter import Interpreter, OpResolverType
        else:
            from tflite_runtime.interpreter import Interpreter, OpResolverType
    except ImportError:
        import tensorflow as tf

        Interpreter = tf.lite.Interpreter  # noqa: N806
        OpResolverType = tf.lite.experimental.OpResolverType  # noqa: N806
    bare = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    kind = bare if plain else OpResolverType.AUTO
    return lambda model: Interpreter(model_content=model, experimental_op_resolver_type=kind)


def _data(shape, dtype):
    import numpy as np

    rng, dtype = np.random.RandomState(0), np.dtype(dtype)
    shape = tuple(int(n) for n in shape)
    if dtype == np.bool_:
        return np.asarray(rng.randint(0, 2, shape)).astype(bool)
    if dtype.kind == "f":
        return np.asarray(rng.rand(*shape) + 0.1).astype(dtype)
    return np.asarray(rng.randint(1, 3, shape)).astype(dtype)


def _run(line, make, model):
    import numpy as np

    net = make(model)
    if line == "tflm":
        count = 0
        while True:
            try:
                details = net.get_input_details(count)
            except (IndexError, RuntimeError, ValueError, SystemError):
                break
            net.set_input(_data(details["shape"], details["dtype"]), count)
            count += 1
        net.invoke()
        out = net.get_output(0)
    else:
        net.allocate_tensors()
        for details in net.get_input_details():
            net.set_tensor(details["index"], _data(details["shape"], details["dtype"]))
        net.invoke()
        out = net.get_tensor(net.get_output_details()[0]["index"])
    return "ok " + json.dumps([round(float(v), 4) for v in np.asarray(out).ravel()[:64]])


def _child(work, log):
    """Return what ``work`` says in a child process, with the tail of its stderr."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(read)
        where = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(where, 1)
        os.dup2(where, 2)
        try:
            says = work()
        except BaseException as error:  # noqa: BLE001 - the answer is the refusal itself
            says = "E " + str(error)
        os.write(write, says.encode()[:4000])
        os._exit(0)
    os.close(write)
    says = b""
    while True:
        part = os.read(read, 4096)
        if not part:
            break
        says += part
    os.close(read)
    os.waitpid(pid, 0)
    text = says.decode(errors="replace") or "CRASH"
    if text.startswith("ok"):
        return text
    tail = Path(log).read_bytes()[-2000:].decode(errors="replace")
    return text + " | " + tail


def ask(folder, release):
    """Write what one release says to every model, as ``RELEASE.answers.json``."""
    line = release.split("-")[0]
    with Path(folder, "models.pkl").open("rb") as file:
        zoo, codes, _ = pickle.load(file)  # noqa: S301 - written by ``models`` beside it
    make = _interpreter(line)
    log = str(Path(folder, f"log-{os.getpid()}"))
    ran = {}
    for key, model in [(z[0], z[-1]) for z in zoo]:
        ran[key] = _child(lambda model=model: _run(line, make, model), log)
    known = {}
    for (name, version), model in codes.items():
        if line == "tflm":
            if version == "node":
                says = _child(lambda model=model: make(model) and "ok []", log)
                if "find op for builtin opcode" not in says:
                    known[name] = [1]
        elif version != "node":
            says = _child(lambda model=model: make(model) and "ok []", log)
            if says.startswith("ok"):
                known.setdefault(name, []).append(version)
    with Path(folder, release + ".answers.json").open("w") as file:
        json.dump({"ran": ran, "known": known}, file)
    print(release, sum(s.startswith("ok") for s in ran.values()), "of", len(ran), "run;",
          len(known), "operators known")  # fmt: skip


def _takes(make, model):
    net = make(model)
    net.allocate_tensors()
    taken = any(op["op_name"] == "DELEGATE" for op in net._get_ops_details())
    return "ok " + json.dumps(taken)


def delegated(folder, release):
    """Write which models a release hands to XNNPACK, as ``RELEASE.delegated.json``."""
    with Path(folder, "models.pkl").open("rb") as file:
        zoo, _, variants = pickle.load(file)  # noqa: S301 - written by ``models`` beside it
    make = _interpreter(release.split("-")[0], plain=False)
    log = str(Path(folder, f"log-{os.getpid()}"))
    found = {}
    for key, model in [(z[0], z[-1]) for z in zoo] + [(v[0], v[1]) for v in variants]:
        says = _child(lambda model=model: _takes(make, model), log)
        found[key] = says[3:] == "true" if says.startswith("ok") else None
    with Path(folder, release + ".delegated.json").open("w") as file:
        json.dump(found, file)
    print(release, sum(v is True for v in found.values()), "of", len(found), "delegated")


if __name__ == "__main__":
    command, *rest = sys.argv[1:]
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    if command == "models":
        write_models(*rest)
    elif command == "ask":
        ask(*rest)
    elif command == "delegated":
        delegated(*rest)
    else:
        from benchmarks.runtime_tables import write_tables

        write_tables(*rest)

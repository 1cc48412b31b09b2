"""Ask one runtime about many models; a script, run by the Python that has the runtime.

    PYTHON ask_runtime.py run|delegated|arena|reach|heap MODELS.pkl litert|tflite|tflm

Reads [(key, model bytes, extra)], writes {key: answer} as JSON to stdout. Needs numpy and
the runtime only, Python 3.8 or newer. Answers come from child processes, because a
refusal can be a crash; None stands for a model that was refused.
"""

import ctypes
import json
import os
import pickle
import sys
from pathlib import Path


def interpreter(line, plain):
    """Return a maker of interpreters, without default delegates when ``plain``."""
    if line == "litert":
        from ai_edge_litert.interpreter import Interpreter, OpResolverType
    else:
        from tflite_runtime.interpreter import Interpreter, OpResolverType
    bare = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    kind = bare if plain else OpResolverType.AUTO
    return lambda model: Interpreter(model_content=model, experimental_op_resolver_type=kind)


def data(shape, dtype):
    """Return values that every kernel accepts, the same each time."""
    import numpy as np

    rng, dtype = np.random.RandomState(0), np.dtype(dtype)
    shape = tuple(int(size) for size in shape)
    if dtype == np.bool_:
        return np.asarray(rng.randint(0, 2, shape)).astype(bool)
    if dtype.kind == "f":
        return np.asarray(rng.rand(*shape) + 0.1).astype(dtype)
    return np.asarray(rng.randint(1, 3, shape)).astype(dtype)


def run(line, model, arena=1 << 20):
    """Run a model once; raise what the runtime raises."""
    if line == "tflm":
        from tflite_micro import runtime

        net = runtime.Interpreter.from_bytes(model, arena_size=arena)
        count = 0
        while True:
            try:
                details = net.get_input_details(count)
            except (IndexError, RuntimeError, ValueError, SystemError):
                break
            net.set_input(data(details["shape"], details["dtype"]), count)
            count += 1
        net.invoke()
        return
    net = interpreter(line, plain=True)(model)
    net.allocate_tensors()
    for details in net.get_input_details():
        net.set_tensor(details["index"], data(details["shape"], details["dtype"]))
    net.invoke()


def starts(model, arena):
    """Start TFLM with an arena of that size; raise if it refuses."""
    from tflite_micro import runtime

    runtime.Interpreter.from_bytes(model, arena_size=arena)


def children(works):
    """Yield ``ok``, what each work raised, or ``crash``; a child process does them in turn.

    Where it crashes, another goes on with the next: a crash costs one fork, an answer none.
    """
    done = 0
    while done < len(works):
        read, write = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(read)
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, 1)
            os.dup2(nowhere, 2)
            for work in works[done:]:
                try:
                    value = work()
                    says = "ok" if value is None else "ok " + json.dumps(value)
                except BaseException as error:  # noqa: BLE001 - the answer is the refusal
                    says = "refused: " + str(error)[:300].replace("\n", " ")
                os.write(write, says.encode() + b"\n")
            os._exit(0)
        os.close(write)
        with os.fdopen(read, encoding="utf-8", errors="replace") as answers:
            for line in answers:
                done += 1
                yield line.rstrip("\n")
        os.waitpid(pid, 0)
        if done < len(works):
            done += 1
            yield "crash"


def delegated(line, model):
    """Return the numbers of the nodes that run inside a delegate."""
    net = interpreter(line, plain=False)(model)
    net.allocate_tensors()
    ops = net._get_ops_details()
    made = {int(t): op for op in ops if op["op_name"] != "DELEGATE" for t in op["outputs"]}
    inside = set()
    for whole in ops:
        if whole["op_name"] != "DELEGATE":
            continue
        ends = {int(t) for t in whole["inputs"]}
        todo = [int(t) for t in whole["outputs"]]
        while todo:
            op = made.get(todo.pop())
            if op is None or op["index"] in inside:
                continue
            inside.add(op["index"])
            todo += [int(t) for t in op["inputs"] if int(t) >= 0 and int(t) not in ends]
    return sorted(inside)


def reach(line, model, activations):
    """Return the bytes that the activations, and what lies among them, span in memory.

    TensorFlow Lite keeps them in one arena; the addresses of the tensors tell how long
    it is, for it has no call that says so.
    """
    import numpy as np

    net = interpreter(line, plain=True)(model)
    net.allocate_tensors()
    file = np.frombuffer(model, np.uint8)
    start = file.__array_interface__["data"][0]
    places = {}
    for details in net.get_tensor_details():
        try:
            view = net.tensor(details["index"])()
        except (ValueError, RuntimeError):
            continue
        address = view.__array_interface__["data"][0]
        if view.nbytes and not start <= address < start + len(model):
            places[details["index"]] = (address, address + view.nbytes)
    del view
    mine = [places[i] for i in activations if i in places]
    if not mine:
        return 0
    low, high = min(p[0] for p in mine), max(p[1] for p in mine)
    rest = [p for i, p in places.items() if i not in activations]
    grown = True
    while grown:
        grown = False
        for place in list(rest):
            if place[1] >= low - 64 and place[0] <= high + 64:
                low, high = min(low, place[0]), max(high, place[1])
                rest.remove(place)
                grown = True
    return high - low


class MallInfo(ctypes.Structure):
    """What mallinfo2 of glibc 2.33 and newer tells."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks",
            "uordblks", "fordblks", "keepcost",
        )
    ]  # fmt: skip


def heap():
    """Return the bytes that the process has allocated."""
    library = ctypes.CDLL(None)
    library.mallinfo2.restype = MallInfo
    told = library.mallinfo2()
    return told.uordblks + told.hblkhd


def taken(line, model, plain):
    """Return what an interpreter and one inference add to the heap."""
    before = heap()
    net = interpreter(line, plain=plain)(model)
    net.allocate_tensors()
    for details in net.get_input_details():
        net.set_tensor(details["index"], data(details["shape"], details["dtype"]))
    net.invoke()
    return heap() - before


def main(mode, path, line):
    """Print every answer."""
    with Path(path).open("rb") as file:
        models = pickle.load(file)
    if line == "tflm":
        from tflite_micro import runtime  # noqa: F401 - once, before the children
    else:
        interpreter(line, plain=True)
    if mode == "run":
        works = [lambda model=model: run(line, model) for _, model, _ in models]
        found = dict(zip([key for key, _, _ in models], children(works)))  # noqa: B905 - Python 3.8
    elif mode == "arena":
        keys = [(key, model, size) for key, model, sizes in models for size in sizes]
        works = [lambda model=model, size=size: starts(model, size) for _, model, size in keys]
        found = {key: [] for key, _, _ in keys}
        for (key, _, _), says in zip(keys, children(works)):  # noqa: B905
            found[key].append(says)
    else:
        answer = {"delegated": delegated, "reach": reach, "heap": taken}[mode]
        works = [
            lambda model=model, extra=extra: answer(
                line, model, *([] if extra is None else [extra])
            )
            for _, model, extra in models
        ]
        found = {}
        for (key, _, _), says in zip(models, children(works)):  # noqa: B905
            found[key] = json.loads(says[3:]) if says.startswith("ok ") else None
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])

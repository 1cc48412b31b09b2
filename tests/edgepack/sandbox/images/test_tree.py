"""Laws of what goes into an image."""

import pytest

from edgepack.sandbox.images.tree import keeps, keeps_of_wheel

NUMPY = "usr/lib/python3/dist-packages/numpy"


@pytest.mark.parametrize(
    "path",
    [
        "usr/bin/python3.11",
        "usr/lib/python3.11/json/__init__.py",
        "usr/lib/python3.11/encodings/utf_8.py",
        "usr/lib/python3.11/lib-dynload/_ctypes.cpython-311-x86_64-linux-gnu.so",
        f"{NUMPY}/core/_multiarray_umath.cpython-311-x86_64-linux-gnu.so",
        f"{NUMPY}/testing/__init__.py",
        "lib/x86_64-linux-gnu/libc.so.6",
        "lib64/ld-linux-x86-64.so.2",
        "usr/lib/x86_64-linux-gnu/blas/libblas.so.3",
        "usr/share/doc/libc6/copyright",
    ],
)
def test_what_python_numpy_and_the_law_need_stays(path: str) -> None:
    assert keeps(path)


@pytest.mark.parametrize(
    "path",
    [
        "bin/dash",
        "bin/tar",
        "usr/bin/perl",
        "usr/bin/python3-config",
        "sbin/ldconfig",
        "usr/bin/dpkg",
        "dev/null",
        "tmp",
        "var/lib/dpkg/status",
        "var/cache/apt/archives/x.deb",
        "etc/apt/sources.list",
        "usr/share/doc/libc6/changelog.gz",
        "usr/share/locale/de/LC_MESSAGES/x.mo",
        "usr/lib/python3.11/test/regrtest.py",
        "usr/lib/python3.11/encodings/cp1252.py",
        f"{NUMPY}/core/tests/test_dtype.py",
        f"{NUMPY}/core/include/numpy/arrayobject.h",
    ],
)
def test_what_no_inference_needs_goes(path: str) -> None:
    assert not keeps(path)


def test_of_a_wheel_the_interpreter_stays_and_accelerators_go() -> None:
    assert keeps_of_wheel("ai_edge_litert/interpreter.py")
    assert keeps_of_wheel("ai_edge_litert/_pywrap_litert_interpreter_wrapper.so")
    assert keeps_of_wheel("ai_edge_litert-1.4.0.dist-info/METADATA")
    assert keeps_of_wheel("tflite_runtime/_pywrap_tensorflow_interpreter_wrapper.so")
    assert not keeps_of_wheel("ai_edge_litert/libLiteRtWebGpuAccelerator.so")
    assert not keeps_of_wheel("ai_edge_litert/tools/apply_plugin_main")
    assert not keeps_of_wheel("ai_edge_litert/vendors/x/compiler/y.so")


@pytest.mark.parametrize("path", ["../evil.py", "tflite_runtime/../../etc/x", "/etc/passwd"])
def test_a_wheel_whose_path_leads_outside_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="outside"):
        keeps_of_wheel(path)

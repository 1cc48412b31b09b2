"""A page of the converter's words becomes the line that matters."""

from __future__ import annotations

from converters.tflite.convert_worker import one_line

REFUSED = (
    "Could not translate MLIR to FlatBuffer.<unknown>:0: error: loc(callsite("
    'fused["MaxPool3D:", "net/pool/MaxPool3D@__inference_<lambda>_21"] '
    'at callsite(fused["PartitionedCall:", '
    '"PartitionedCall@__inference_signature_wrapper_27"] at fused["PartitionedCall:", '
    "\"PartitionedCall\"]))): 'tf.MaxPool3D' op is neither a custom op nor a flex op\n"
    "<unknown>:0: error: failed while converting: 'main': \nSome ops are not supported\n"
)


def test_an_operator_without_a_kernel_is_named_with_its_place() -> None:
    assert one_line(REFUSED) == "no kernel for MaxPool3D at net/pool/MaxPool3D"


def test_the_first_error_is_taken_of_other_pages() -> None:
    page = 'preface\n<unknown>:0: error: loc("x"): cannot do it\nmore\n'
    assert one_line(page) == "error: cannot do it"


def test_a_line_is_short_whatever_the_page() -> None:
    assert len(one_line("x" * 5000)) == 300
    assert one_line("") == ""

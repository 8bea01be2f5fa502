"""Ports say what they are, and which dtypes fit."""

import pytest

from triptych.core.ports import Port, same_dtype


def test_a_port_reads_like_a_declaration():
    port = Port("deepstack_embeds", "float32", ("K", "B", "S", 64))
    assert str(port) == "deepstack_embeds float32 [K, B, S, 64]"
    assert str(Port("flag", "bool", ())) == "flag bool []"


@pytest.mark.parametrize(
    ("written", "read", "fits"),
    [
        ("float32", "float32", True),
        ("float32", "float16", False),
        ("int64", "int64", True),
        ("int64", "int32", False),
        ("float16", "float", True),
        ("float64", "float", True),
        ("int64", "float", False),
        ("bool", "float", False),
        ("float", "float", True),
        ("float", "float32", True),
        ("float", "int64", False),
    ],
)
def test_dtypes_fit_when_they_are_the_same_or_any_float_will_do(written, read, fits):
    assert same_dtype(written, read) is fits


@pytest.mark.parametrize("strange", ["onnx type 8", "unknown", "bfloat16"])
def test_a_dtype_that_numpy_does_not_know_fits_only_itself(strange):
    assert same_dtype(strange, strange)
    assert not same_dtype(strange, "int64")
    assert not same_dtype("float32", strange)
    assert same_dtype(strange, "float") is (strange == "bfloat16")

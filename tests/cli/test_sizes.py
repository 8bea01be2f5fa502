"""Sizes of files are read as people type them."""

from __future__ import annotations

import pytest

from triptych.cli.sizes import bytes_of
from triptych.core.errors import InputError


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("2GB", 2_000_000_000),
        ("500 mb", 500_000_000),
        ("1.5GB", 1_500_000_000),
        ("12", 12),
        ("12B", 12),
        ("3TB", 3_000_000_000_000),
    ],
)
def test_a_size_has_a_number_and_perhaps_a_unit(text, size):
    assert bytes_of(text) == size


@pytest.mark.parametrize("text", ["", "big", "-1GB", "0", "2GiBs", "GB", "1e9", "0.1"])
def test_what_is_no_size_is_refused_with_an_example(text):
    with pytest.raises(InputError, match=r"write it as 500MB or 2GB"):
        bytes_of(text)

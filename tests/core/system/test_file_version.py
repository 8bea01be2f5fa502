"""Versions of files, read and refused."""

import pytest

from triptych.core.system.file_version import unread_version


def test_the_version_that_is_read_is_not_refused():
    assert unread_version(2, 2) is None


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (3, "has format 3, and this Triptych reads 1; upgrade triptych"),
        (0, "has format 0, and this Triptych reads 1"),
        (None, "has format None, and this Triptych reads 1"),
        ("1", "has format '1', and this Triptych reads 1"),
        (True, "has format True, and this Triptych reads 1"),
    ],
)
def test_another_one_is_and_only_a_newer_one_asks_for_an_upgrade(found, words):
    assert unread_version(found, 1) == words


def test_the_field_is_called_by_its_name():
    assert unread_version(9, 1, "version").startswith("has version 9, and")

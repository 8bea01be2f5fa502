"""Pictures of a page."""

import base64
import io

import numpy as np
from PIL import Image

from tests.workbench.synthetic import picture
from triptych.workbench.report import pictures
from triptych.workbench.report.pictures import SIDE, Pictures


def decoded(shown):
    return Image.open(io.BytesIO(base64.b64decode(shown.url.partition(",")[2])))


def noise(width, height, kind="PNG"):
    values = np.random.default_rng(0).integers(0, 255, (height, width, 3), np.uint8)
    data = io.BytesIO()
    Image.fromarray(values).save(data, kind)
    return data.getvalue()


def test_small_ones_keep_their_bytes_and_are_shown_larger():
    data = picture(1, size=32)
    shown = Pictures().add(data)
    assert shown.url == "data:image/png;base64," + base64.b64encode(data).decode()
    assert (shown.width, shown.height) == (SIDE, SIDE)


def test_large_ones_become_small():
    shown = Pictures().add(noise(800, 400))
    assert decoded(shown).size == (shown.width, shown.height) == (SIDE, SIDE // 2)


def test_each_is_kept_once():
    found = Pictures()
    assert found.add(picture(1)) is found.add(picture(1))
    assert len(found.shown) == 1


def test_too_many_are_counted(monkeypatch):
    monkeypatch.setattr(pictures, "BUDGET", 1)
    found = Pictures()
    assert found.add(picture(1))
    assert found.add(picture(2)) is None
    assert found.left_out == 1


def test_what_is_no_picture_is_none():
    assert Pictures().add(b"<svg/>") is None
    assert Pictures().add(noise(20, 20)[:100]) is None

"""Pipelines to look into: fakes that spoil what they gave, and the built-in model."""

import pytest
from PIL import Image, ImageDraw

import triptych
from tests import fakes


@pytest.fixture
def load(tmp_path):
    """Loads a pipeline of fakes; `extra` is YAML at the end of its file."""

    def load(extra="", **options):
        folder = tmp_path / "fakes"
        folder.mkdir(exist_ok=True)
        file = fakes.pipeline_file(folder, extra=extra)
        return triptych.load(file, plugins=[fakes.__file__], **options)

    return load


@pytest.fixture
def pipe(load):
    return load()


@pytest.fixture(scope="session")
def sketch():
    return triptych.load()


@pytest.fixture(scope="session")
def scene():
    """A picture of 128 by 96 pixels."""
    image = Image.new("RGB", (128, 96), "white")
    ImageDraw.Draw(image).ellipse((20, 20, 70, 70), fill="red")
    return image

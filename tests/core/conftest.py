"""A pipeline file over the fakes."""

import pytest

import triptych
from tests import fakes


@pytest.fixture
def pipeline_file(tmp_path):
    """Writes a pipeline file over the fakes; `extra` is YAML at its end."""

    def write(extra="", **changes):
        return fakes.pipeline_file(tmp_path, extra=extra, **changes)

    return write


@pytest.fixture
def load(pipeline_file):
    """Loads it; `extra` as above, keywords as in `triptych.load`."""

    def load(extra="", **options):
        return triptych.load(pipeline_file(extra), plugins=[fakes.__file__], **options)

    return load


@pytest.fixture
def pipe(load):
    return load()

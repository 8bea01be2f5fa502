"""Folders as other tools make them, of sketch's weights; made once."""

from __future__ import annotations

from pathlib import Path

import pytest

import triptych
from tests.layouts import rewired

IMAGES = Path(__file__).parents[2] / "examples" / "images"
SCENE = IMAGES / "scene.png"

MAKERS = {
    "community": rewired.community,
    "mobius": rewired.mobius,
    "mobius, packed": lambda folder: rewired.mobius(folder, packed=True),
    "genai": lambda folder: rewired.genai(folder, deepstack="indexed"),
    "genai, own names": lambda folder: rewired.genai(
        folder, deepstack="stacked", shared=False, pasts="odd"
    ),
}
"""Folders that lose nothing."""


@pytest.fixture(scope="session")
def folders(tmp_path_factory):
    """Makes the folder of a name once; it is not to be written to."""
    root = tmp_path_factory.mktemp("layouts")
    made = {}

    def folder(name, make=None):
        if name not in made:
            made[name] = (make or MAKERS[name])(root / name.replace(", ", "_").replace(" ", "_"))
        return made[name]

    return folder


@pytest.fixture(scope="session")
def loaded(folders):
    """Loads the folder of a name once."""
    made = {}

    def pipe(name):
        if name not in made:
            made[name] = triptych.load(folders(name))
        return made[name]

    return pipe


@pytest.fixture(scope="session")
def sketch():
    return triptych.load()

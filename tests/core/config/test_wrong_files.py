"""Every kind of wrong pipeline file has one readable message, asserted whole.

After a change of a message: read what `pytest --snapshot-update` makes of it, then commit it.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from tests.core.config.graphs import write_odd_ones, write_qwen3_vl
from triptych.core.components.catalog import Catalog
from triptych.core.config.load import load_spec
from triptych.core.config_error import ConfigError
from triptych.core.ports import Port
from triptych.core.wiring.wiring import wire

WRONG = sorted((Path(__file__).parent / "wrong").glob("*.yaml"))

OFFERS = (
    Port("pixel_values", "float32", ("patches", 1536)),
    Port("image_grid_thw", "int64", ("images", 3)),
)
"""What a processor of images offers; the real one would need a tokenizer's files."""

MANIFEST = """
from triptych.core.components.component import Component
from triptych.core.components.hookspecs import hookimpl

@hookimpl
def stages():
    return [
        Component("thing", "broken_inside:Thing", "a class whose module raises on import"),
        Component("token_merge", "acme_stages:TokenMerge", "a class that raises when it is made"),
    ]
"""


@pytest.fixture
def site(tmp_path_factory, monkeypatch):
    """Installed plugins: `acme`, which is half broken, and `faulty`, which is so from the start."""
    site = tmp_path_factory.mktemp("site")
    (site / "acme_manifest.py").write_text(MANIFEST)
    (site / "broken_inside.py").write_text("import a_library_that_is_not_there\n")
    (site / "acme_stages.py").write_text(
        "class TokenMerge:\n    def __init__(self):\n        raise RuntimeError('no ratio')\n"
    )
    (site / "faulty_manifest.py").write_text("raise RuntimeError('boom')\n")
    for owner in ("acme", "faulty"):
        info = site / f"{owner}_plugin-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {owner}-plugin\nVersion: 1.0\n"
        )
        (info / "entry_points.txt").write_text(f"[triptych]\n{owner} = {owner}_manifest\n")
    monkeypatch.syspath_prepend(site)
    yield site
    for module in ("acme_manifest", "acme_stages", "broken_inside", "faulty_manifest"):
        sys.modules.pop(module, None)


@pytest.mark.parametrize("file", WRONG, ids=lambda file: file.stem)
def test_a_wrong_file_is_refused_with(file, folder, site, snapshot):
    write_qwen3_vl(folder)
    write_odd_ones(folder)
    (folder / "link.onnx").symlink_to(sys.executable)
    shutil.copy(file, folder / "pipeline.yaml")
    with pytest.raises(ConfigError) as caught:
        check("pipeline.yaml")
    assert str(caught.value).replace(str(folder), "FOLDER") == snapshot


def test_the_good_file_passes_the_same_checks(folder):
    write_qwen3_vl(folder)
    check("pipeline.yaml")


def check(source):
    spec = load_spec(source, catalog=Catalog())
    wire([(part, part.make()) for part in spec.stages], offers=OFFERS)

"""An export in the layout of another tool, written to a folder."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

import onnx_ir as ir

from triptych.export.checkpoint import Checkpoint
from triptych.export.graph_files import GraphFiles, Tell
from triptych.export.layouts.files import put_template
from triptych.export.layouts.layout import Layout
from triptych.export.output import require_room


def write_layout(
    layout: Layout,
    graphs: Mapping[str, ir.Model],
    checkpoint: Checkpoint,
    folder: Path,
    *,
    processor: Iterable[str],
    limit: int | None,
    progress: Tell | None,
) -> None:
    """Writes the graphs and what lies beside them, but no pipeline.yaml.

    graphs: the exporter's. processor: the files of the checkpoint that go with them. limit: see
    GraphFiles. Raises LayoutError and OutputError.
    """
    files = GraphFiles(layout.graphs(graphs), limit=limit, data=layout.data, apart=layout.apart)
    require_room(folder, files.expected_bytes)
    below = folder / layout.below
    below.mkdir(exist_ok=True)
    files.write(below, progress)
    for name in processor:
        if (found := checkpoint.optional_file(name)) is not None:
            shutil.copyfile(found, folder / name)
    put_template(folder)
    layout.finish(folder)

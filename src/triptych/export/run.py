"""A checkpoint folder becomes a pipeline folder."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import onnx_ir as ir

from triptych.core.catalog import Catalog
from triptych.export.checkpoint import Checkpoint, read_json
from triptych.export.families import exporter_for
from triptych.export.output import EDITABLE, output_folder, require_room
from triptych.export.pipeline_file import pipeline_yaml
from triptych.export.precision import precision_named

# (what is being written, bytes written, bytes in all)
Progress = Callable[[str, int, int], None]

# A graph with fewer bytes of weights is one file; protobuf ends at 2 GB.
INLINE_BYTES = 64 * 1024**2
# Below this a tensor stays in the .onnx file, where shape inference can see it.
EXTERNAL_BYTES = 1024
# Lets Windows map the file's tensors, too.
ALIGNMENT = 65536

# The files of a checkpoint that the processor and the stop rules read.
PROCESSOR_FILES = (
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "chat_template.jinja",
    "chat_template.json",
    "preprocessor_config.json",
    "processor_config.json",
    "video_preprocessor_config.json",
)


def export_checkpoint(
    checkpoint: Path,
    out: Path,
    *,
    precision: str = "fp32",
    family: str | None = None,
    catalog: Catalog | None = None,
    progress: Progress | None = None,
) -> Path:
    """Writes the graphs, the processor's files and pipeline.yaml of a checkpoint; returns `out`.

    checkpoint: a Hugging Face folder with safetensors. precision: how weights are stored, "fp32"
    or "fp16"; computed is in float32. family: the exporter to use, else found from config.json.
    catalog: where exporters are looked up (default: what is built in and installed).
    progress: called as each tensor is written.
    Raises CheckpointError, FamilyError, PrecisionError, OutputError, or the family's own errors.
    Nothing is left under `out` unless the export is complete.
    """
    checkpoint, out = Path(checkpoint), Path(out)
    stored = precision_named(precision)
    source = Checkpoint(checkpoint)
    config_place = str(checkpoint / "config.json")
    name, exporter_type = exporter_for(
        source.config, config_place, family=family, catalog=catalog or Catalog()
    )
    exporter = exporter_type(source, stored)
    record = {"format": 1, "family": name, "precision": precision}
    with output_folder(out, record) as folder:
        graphs = dict(exporter.graphs())
        require_room(folder, sum(map(_weight_bytes, graphs.values())))
        _write_graphs(graphs, folder, progress)
        for file in PROCESSOR_FILES:
            if (found := source.optional_file(file)) is not None:
                shutil.copyfile(found, folder / file)
        generation = source.optional_file("generation_config.json")
        text = pipeline_yaml(
            source=checkpoint.resolve().name,
            precision=precision,
            stages=exporter.stages,
            generation=read_json(generation) if generation else None,
        )
        (folder / EDITABLE).write_text(text, encoding="utf-8")
    return out


def _write_graphs(graphs: dict[str, ir.Model], folder: Path, progress: Progress | None) -> None:
    """Writes the graphs, one tensor in memory at a time where they are large."""
    sizes = {name: _weight_bytes(graph) for name, graph in graphs.items()}
    total = sum(sizes.values())
    before = 0
    for name, graph in graphs.items():
        written = before

        def tell(tensor: ir.TensorProtocol, _: object) -> None:
            nonlocal written
            written += tensor.nbytes
            if progress is not None:
                progress(tensor.name or "", written, total)

        if sizes[name] < INLINE_BYTES:
            ir.save(graph, folder / name)
        else:
            ir.save(
                graph,
                folder / name,
                external_data=f"{name}.data",
                size_threshold_bytes=EXTERNAL_BYTES,
                alignment=ALIGNMENT,
                callback=tell,
            )
        before += sizes[name]
        if progress is not None:
            progress(name, before, total)


def _weight_bytes(graph: ir.Model) -> int:
    values = graph.graph.initializers.values()
    return sum(value.const_value.nbytes for value in values if value.const_value is not None)

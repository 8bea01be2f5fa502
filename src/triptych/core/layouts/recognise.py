"""From a folder to the pipeline that it holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from triptych.core.layouts.document import document
from triptych.core.layouts.genai import FILE as GENAI_FILE
from triptych.core.layouts.genai import GenAIConfig
from triptych.core.layouts.graph_files import GraphFiles, graph_files, graphs_in
from triptych.core.layouts.json_files import problem
from triptych.core.layouts.model_facts import ModelFacts
from triptych.core.layouts.processor import processor_for
from triptych.core.layouts.stage_items import stage_items


@dataclass(frozen=True)
class Recognised:
    """What a folder is taken for. text: a pipeline file. warnings: what a person should know."""

    text: str
    warnings: tuple[str, ...]


def holds_graphs(folder: Path) -> bool:
    """Whether a folder without a pipeline file is another tool's."""
    try:
        return (folder / GENAI_FILE).is_file() or bool(graphs_in(folder))
    except (OSError, ValueError):
        return False


def recognise(
    folder: Path, *, suffixes: Mapping[str, str] | None = None, root: Path | None = None
) -> Recognised:
    """The pipeline that the graphs in `folder` make.

    suffixes: how weights are stored, ``{"decoder": "q4"}``, where there are several files of one
    graph; under ``""`` for all. root: the folder as the text shall name it, if it is not to lie
    in there. Raises ConfigError and GraphFileError.
    """
    if not folder.is_dir():
        raise problem(folder, "there is no such folder")
    config = GenAIConfig.read(folder)
    if config is None and not graphs_in(folder):
        raise _no_graphs(folder)
    files = graph_files(folder, config, suffixes or {})
    facts = ModelFacts(folder, config)
    items = stage_items(folder, files, facts)
    text = document(
        items,
        tool=_tool(files, config),
        processor=processor_for(folder),
        generation=facts.generation,
        root=root,
    )
    return Recognised(text, items.warnings)


def _no_graphs(folder: Path) -> Exception:
    """The error for a folder without graphs, with what it may be instead."""
    if any(folder.glob("*.safetensors")):
        cause = "holds weights and no graphs (*.onnx): it is a checkpoint"
        return problem(folder, cause, hint=f"make a pipeline of it: triptych export {folder} OUT")
    if any(folder.glob("pytorch_model*.bin")):
        cause = "holds weights in PyTorch's own format, which is not read, and no graphs (*.onnx)"
        return problem(folder, cause, hint="save it as safetensors, then: triptych export")
    return problem(
        folder,
        "holds no graphs (*.onnx), nor do its subfolders",
        hint="name the folder with genai_config.json, or the one with config.json and onnx/",
    )


def _tool(files: GraphFiles, config: GenAIConfig | None) -> str:
    """What a person would call the folder's layout."""
    if config is not None:
        return "ONNX Runtime GenAI"
    folders = {graph.file.rpartition("/")[0] for graph in files.by_part.values()}
    if folders == {"onnx"}:
        return "Optimum (an onnx-community folder)"
    if len(folders) == len(files.by_part) > 1:
        return "mobius"
    return "another tool"

"""What a model family provides to be exportable. Offered by the hook `exporters`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Protocol

import onnx_ir as ir

from triptych.export.checkpoint import Checkpoint
from triptych.export.precision import Precision
from triptych.export.verification.reference import Reference, Weights

StageItem = tuple[str, str | Mapping[str, Any] | None]


class Exporter(Protocol):
    """Turns a checkpoint of one family into graphs, one after the other.

    stages: the pipeline's stages in order, each a component's name and what the pipeline file
    says of it: its graph's file, a mapping of settings, or None.
    A family may also name the component that serves its checkpoints as `processor`, where neither
    `qwen_vl` nor `hf` does: ``processor = "acme/llava"``.
    And it may have `routes = True`: its models send tokens to experts, which small errors
    may change; `triptych verify` then expects less of logits.
    """

    stages: ClassVar[Sequence[StageItem]]

    @classmethod
    def accepts(cls, config: Mapping[str, Any]) -> bool:
        """Whether a config.json is of this family."""
        ...

    def __init__(self, checkpoint: Checkpoint, precision: Precision) -> None: ...

    def graphs(self) -> Iterable[tuple[str, ir.Model]]:
        """(file name, graph) pairs. Weights stay unread until the graph is written."""
        ...

    @classmethod
    def reference(cls, folder: Path, weights: Weights) -> Reference:
        """The checkpoint in `folder` run by something else, for `triptych verify`.

        weights: all of its tensors by name, float32, with the values that an export computes with.
        See `triptych.export.verification.reference`, which says how to write one.
        """
        ...

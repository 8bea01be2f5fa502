"""The index of a recording: what was run, and where each tensor lies.

``index.jsonl`` has a line for each thing, as it happened: a header, passes, tensors, and at the end
that it is complete. It is written as the run goes, so that what a run left that was killed can be
read; it then lacks the last line.

```text
{"format": 1, "triptych": "0.1.0", "ports": null}
{"pass": 0, "phase": "input", "sequence": 0, "step": 0, "tokens": [...], "source": [...],
 "media": [{"kind": "image", "digest": "...", "rows": 16}]}
{"tensor": "0/vision_encoder/image_features", "port": "image_features", "writer":
 "vision_encoder", "pass": 0, "dtype": "float32", "shape": [16, 192], "axes": ["N", "H"],
 "file": "ports-00000.safetensors"}
{"complete": true}
```

A pass is one walk through the stages of a phase. Step 0 is the prompt, in as many slices as it was
cut into; step n forwards the n-th new token.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from triptych.core.errors import TriptychError
from triptych.core.ports import Axis

FORMAT = 1
"""The version of the index that this release writes, and the only one that it reads."""

INDEX = "index.jsonl"
MANIFEST = "manifest.json"


class RecordingError(TriptychError):
    """A folder that is no recording, or lacks what is asked of it."""

    exit_code = 2


@dataclass(frozen=True)
class Item:
    """A medium that entered. digest: of its content. rows: its visual rows, before any went."""

    kind: str
    digest: str
    rows: int


@dataclass(frozen=True)
class Pass:
    """One walk through the stages of a phase.

    number: counted from 0. phase: ``input`` or ``span``. sequence: which of the answer's, counted
    from 0. tokens, source: ids, and the place of each among the tokens as they were given.
    """

    number: int
    phase: str
    sequence: int
    step: int
    tokens: tuple[int, ...]
    source: tuple[int, ...]
    media: tuple[Item, ...] = ()

    def line(self) -> str:
        """As the index has it."""
        said: dict[str, Any] = {
            "pass": self.number,
            "phase": self.phase,
            "sequence": self.sequence,
            "step": self.step,
            "tokens": list(self.tokens),
            "source": list(self.source),
        }
        if self.media:
            said["media"] = [vars(item) for item in self.media]
        return _line(said)

    @classmethod
    def of(cls, said: Mapping[str, Any]) -> Self:
        """What a line says."""
        return cls(
            said["pass"],
            said["phase"],
            said["sequence"],
            said["step"],
            tuple(said["tokens"]),
            tuple(said["source"]),
            tuple(Item(**item) for item in said.get("media", ())),
        )


@dataclass(frozen=True)
class Tensor:
    """A port as it was written once.

    name: in its file. writer: a stage's label, ``core`` or ``processor``. number: of its pass.
    source: as in the pass, where a stage had dropped tokens by then; else None. rows: of ports
        with an axis R, the places of its rows in `source`.
    """

    name: str
    port: str
    writer: str
    number: int
    dtype: str
    shape: tuple[int, ...]
    axes: tuple[Axis, ...]
    file: str
    tokens: tuple[int, ...] | None = None
    source: tuple[int, ...] | None = None
    rows: tuple[int, ...] | None = None

    def line(self) -> str:
        """As the index has it."""
        said: dict[str, Any] = {
            "tensor": self.name,
            "port": self.port,
            "writer": self.writer,
            "pass": self.number,
            "dtype": self.dtype,
            "shape": list(self.shape),
            "axes": list(self.axes),
            "file": self.file,
        }
        for key in ("tokens", "source", "rows"):
            value = getattr(self, key)
            if value is not None:
                said[key] = list(value)
        return _line(said)

    @classmethod
    def of(cls, said: Mapping[str, Any]) -> Self:
        """What a line says."""
        return cls(
            said["tensor"],
            said["port"],
            said["writer"],
            said["pass"],
            said["dtype"],
            tuple(said["shape"]),
            tuple(said["axes"]),
            said["file"],
            *(tuple(said[key]) if key in said else None for key in ("tokens", "source", "rows")),
        )


def header(version: str, ports: Sequence[str] | None) -> str:
    """The first line. ports: those that were asked for; None: all that were written."""
    return _line({"format": FORMAT, "triptych": version, "ports": ports})


def last() -> str:
    """The last line of a recording that is whole."""
    return _line({"complete": True})


def _line(said: Mapping[str, Any]) -> str:
    return json.dumps(said, ensure_ascii=False) + "\n"

"""`genai_config.json`, which ONNX Runtime GenAI puts beside its graphs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from triptych.core.layouts.json_files import json_object, problem
from triptych.core.layouts.port_names import PartName

FILE = "genai_config.json"
_SECTIONS: dict[PartName, str] = {
    "vision_encoder": "vision",
    "embeddings": "embedding",
    "decoder": "decoder",
}


@dataclass(frozen=True)
class GenAIConfig:
    """What the file says, each answer empty or None where it does not."""

    path: Path
    model: Mapping[str, Any]
    search: Mapping[str, Any]

    @staticmethod
    def read(folder: Path) -> GenAIConfig | None:
        """The folder's; None where there is none. Raises ConfigError for a broken one."""
        path = folder / FILE
        whole = json_object(path)
        if whole is None:
            return None
        model, search = whole.get("model"), whole.get("search")
        if not isinstance(model, dict):
            raise problem(path, "has no object 'model', which names the graphs")
        return GenAIConfig(path, model, search if isinstance(search, dict) else {})

    @property
    def graphs(self) -> dict[PartName, str]:
        """The files that it names, relative to its folder. Raises ConfigError."""
        found: dict[PartName, str] = {}
        for part in _SECTIONS:
            file = self._section(part).get("filename")
            if isinstance(file, str) and file:
                found[part] = file
        if "pipeline" in self._section("decoder"):
            raise problem(
                self.path,
                "cuts the decoder into a pipeline of several graphs, which is not supported",
                hint="build it again as one graph",
            )
        if "decoder" not in found:
            raise problem(self.path, "names no graph at model.decoder.filename")
        return found

    def names(self, part: PartName) -> dict[str, str]:
        """The usual name of each port of a graph, by the graph's own name."""
        section = self._section(part)
        return {
            own: usual
            for way in ("inputs", "outputs")
            for usual, own in _strings(section.get(way))
            if "%d" not in own
        }

    @property
    def past_names(self) -> dict[str, str]:
        """The templates of present tensors by those of past ones."""
        inputs, outputs = (dict(_strings(self._section("decoder").get(way))) for way in _WAYS)
        return {
            inputs[f"past_{part}_names"]: outputs[f"present_{part}_names"]
            for part in ("key", "value")
            if f"past_{part}_names" in inputs and f"present_{part}_names" in outputs
        }

    @property
    def shares_buffer(self) -> bool | None:
        """Whether past and present are one buffer."""
        value = self.search.get("past_present_share_buffer")
        return value if isinstance(value, bool) else None

    @property
    def kind(self) -> str:
        """The type of the model, as GenAI calls it."""
        return str(self.model.get("type", ""))

    def number(self, part: PartName, name: str) -> int | None:
        """A positive number in the section of a part."""
        value = self._section(part).get(name)
        return value if isinstance(value, int) and value > 0 else None

    def _section(self, part: PartName) -> Mapping[str, Any]:
        section = self.model.get(_SECTIONS[part])
        return section if isinstance(section, dict) else {}


_WAYS = ("inputs", "outputs")


def _strings(names: Any) -> Iterator[tuple[str, str]]:
    if isinstance(names, dict):
        yield from ((usual, own) for usual, own in names.items() if isinstance(own, str))

"""A catalog of small fakes beside the built-in samplers, and a folder with a pipeline in it."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import pytest
from pydantic import Field, PositiveInt

from triptych.core.components.catalog import Catalog
from triptych.core.components.component import Component, Kind
from triptych.core.components.entry import Entry, Origin
from triptych.core.config.settings import CacheItem, Settings
from triptych.core.paths import FilePath

GOOD = """\
format: 1
processor: {hf: .}
stages:
  - vision_encoder: vision_encoder.onnx
  - mrope
  - embeddings: embeddings.onnx
  - merge
  - decoder: decoder.onnx
sampler:
  - temperature: 0.7
  - top_k: 50
  - top_p: 0.9
  - draw
strategy: autoregressive
stop: {max_new_tokens: 100}
session: {providers: [cpu], threads: auto}
"""


class Fake:
    """Keeps its settings."""

    def __init__(self, settings=None):
        self.settings = settings


class Processor(Fake):
    class Settings(Settings):
        folder: FilePath


class Graph(Fake):
    class Settings(Settings):
        graph: FilePath


class Decoder(Fake):
    class Settings(Settings):
        graph: FilePath
        cache: CacheItem = Field(default="full", validate_default=True)


class Onnx(Fake):
    class Settings(Settings):
        graph: FilePath
        when: Literal["input", "span"] = "span"


class Bare(Fake):
    pass


class Fails:
    def __init__(self):
        raise RuntimeError("no more memory")


class Full(Fake):
    pass


class Window(Fake):
    class Settings(Settings):
        size: PositiveInt
        sinks: int = Field(default=4, ge=0)


class Speculate(Fake):
    class Settings(Settings):
        ngram: PositiveInt = 3
        labels: tuple[str, ...] = ()


class Temperature(Fake):
    keeps_winner = True

    class Settings(Settings):
        temperature: float = Field(gt=0, allow_inf_nan=False)


class TopK(Fake):
    keeps_winner = True

    class Settings(Settings):
        k: int = Field(ge=1)


class TopP(Fake):
    keeps_winner = True

    class Settings(Settings):
        p: float = Field(gt=0, le=1)
        least: int = Field(default=1, ge=1)


class Penalty(Fake):
    keeps_winner = False

    class Settings(Settings):
        factor: float = 1.1


class Chooser(Fake):
    pass


FAKES: Mapping[Kind, list[tuple[Component, type]]] = {
    "processors": [(Component("hf", "f:P", "", main="folder"), Processor)],
    "stages": [
        (Component("vision_encoder", "f:G", "", main="graph"), Graph),
        (Component("embeddings", "f:G", "", main="graph"), Graph),
        (Component("decoder", "f:D", "", main="graph"), Decoder),
        (Component("onnx", "f:O", "", main="graph"), Onnx),
        (Component("mrope", "f:B", ""), Bare),
        (Component("positions", "f:B", ""), Bare),
        (Component("merge", "f:B", ""), Bare),
        (Component("fails", "f:F", ""), Fails),
    ],
    "samplers": [
        (Component("temperature", "f:T", "", main="temperature", role="warp"), Temperature),
        (Component("top_k", "f:K", "", main="k", role="warp"), TopK),
        (Component("top_p", "f:P", "", main="p", role="warp"), TopP),
        (Component("penalty", "f:R", "", main="factor", role="warp"), Penalty),
        (Component("draw", "f:C", "", role="choose"), Chooser),
        (Component("greedy", "f:C", "", role="choose"), Chooser),
    ],
    "strategies": [
        (Component("autoregressive", "f:B", ""), Bare),
        (Component("prompt_lookup", "f:S", "", main="ngram"), Speculate),
    ],
    "caches": [
        (Component("full", "f:F", ""), Full),
        (Component("window", "f:W", "", main="size"), Window),
    ],
}


class FakeEntry(Entry):
    """An entry whose class is at hand."""

    def load(self):
        return {c.name: cls for c, cls in FAKES[self.kind]}[self.component.name]


class FakeCatalog(Catalog):
    """A catalog whose built-in components are the fakes."""

    def _built_in(self, kind):
        return [FakeEntry(component, kind, Origin()) for component, _ in FAKES.get(kind, [])]


@pytest.fixture
def catalog() -> FakeCatalog:
    return FakeCatalog()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory: a folder with graphs, and a good pipeline file."""
    for name in ("vision_encoder", "embeddings", "decoder", "extra"):
        (tmp_path / f"{name}.onnx").write_bytes(name.encode())
    (tmp_path / "tokenizer.json").write_text("{}")
    (tmp_path / "pipeline.yaml").write_text(GOOD)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def write(folder: Path):
    """Write the pipeline file anew."""

    def writer(text: str, name: str = "pipeline.yaml") -> str:
        (folder / name).write_text(textwrap.dedent(text))
        return name

    return writer

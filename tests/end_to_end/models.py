"""Exported checkpoints with random weights, as pipelines and as transformers runs them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

import triptych
from tests import fakes
from tests.export.checkpoints import TinyShape, random_checkpoint
from tests.export.reference import Prompt, Reference
from triptych.export import export_checkpoint

PIPELINE = """\
format: 1
processor: {{local/numbers: {{vocabulary: {vocabulary}, patch: 1536}}}}
stages:
  - vision_encoder: vision_encoder.onnx
  - mrope
  - embeddings: embeddings.onnx
  - merge
  - decoder: decoder.onnx
sampler: [greedy]
stop: {{max_new_tokens: 64}}
"""


def say_no_placeholders(checkpoint, shape):
    """Make it unlikely that the model says a placeholder, which transformers takes for an image."""
    file = checkpoint / "model.safetensors"
    weights = load_file(file)
    if "lm_head.weight" in weights:
        weights["lm_head.weight"][shape.token("image") : shape.token("vision_end")] = 0
        save_file(weights, file)


@dataclass
class Model:
    """A random checkpoint of `shape`; its export speaks numbers (see tests/fakes.py)."""

    shape: TinyShape
    root: Path

    def __post_init__(self):
        self.checkpoint = random_checkpoint(self.root / "checkpoint", shape=self.shape)
        say_no_placeholders(self.checkpoint, self.shape)
        self.folder = export_checkpoint(self.checkpoint, self.root / "export")
        self.file = self.folder / "numbers.yaml"
        text = PIPELINE.format(vocabulary=self.shape.vocabulary)
        self.file.write_text(text, encoding="utf-8")

    def load(self, **changes):
        """A new pipeline; changes: keywords of `triptych.load`."""
        return triptych.load(self.file, plugins=[fakes.__file__], **changes)

    @cached_property
    def pipe(self):
        return self.load()

    @cached_property
    def reference(self):
        return Reference(self.checkpoint)

    def prompt(self, request, *, then=()):
        """The same prompt for transformers; then: tokens that follow it."""
        prompt = self.pipe.processor.prompt(request)
        ids = np.array([*prompt.tokens, *then])
        if not prompt.media:
            return Prompt(ids, None, None)
        pixels, grids = (
            np.concatenate([item.ports[name] for item in prompt.media])
            for name in ("pixel_values", "image_grid_thw")
        )
        return Prompt(ids, pixels, grids)

    def logprobs(self, request, completion):
        """By transformers: the log probability of each token of a completion."""
        logits = self.reference.logits(self.prompt(request, then=completion[:-1]))
        rows = logits[-len(completion) :].astype(np.float64)
        rows -= np.logaddexp.reduce(rows, axis=-1, keepdims=True)
        return rows[range(len(completion)), list(completion)]

    def greedy(self, request, steps=64):
        """By transformers: the tokens of greedy decoding."""
        return tuple(self.reference.greedy(self.prompt(request), steps)[0])

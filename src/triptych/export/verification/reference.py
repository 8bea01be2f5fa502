"""The side that is right: what a model family provides so that its exports can be verified.

A family writes `reference.py` beside its exporter, with a class over
`triptych.export.verification.checkpoint.TransformersReference` (which does what all models of
transformers have in common), and names it in its exporter:

    @classmethod
    def reference(cls, folder: Path, weights: Weights) -> Reference:
        from triptych.export.qwen3_vl.reference import Qwen3VLReference

        return Qwen3VLReference(folder, weights)

The import stands inside, because it needs torch and exporting does not. For a text-only model the
class is its name in transformers and nothing more:

    class Qwen3Reference(TransformersReference):
        architecture = "Qwen3ForCausalLM"

What a stage should write is overheard in the model's own forward: token embeddings, positions, and
what the decoder is given once images were merged. One that sees says besides what its vision stage
writes, and makes up pictures for checkpoints that have no processor:

    class SeeingReference(TransformersReference):
        architecture = "SeeingForConditionalGeneration"

        def vision(self, media):
            found = self.model.model.get_image_features(tensor(media["pixel_values"]))
            return {"image_features": torch.cat(list(found.pooler_output)).numpy()}

        def made_up(self, random):
            yield from super().made_up(random)
            yield Case("a picture", Prompt(ids, (made_up_media("image", at, ports),)))

`inputs` changes what the model is called with, and `fused` names more of what the decoder is given.
For pictures as rows of patches, as in the Qwen-VL line, all of that is in
`triptych.export.verification.patches.PatchReference`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from triptych.core.ports import Array
from triptych.core.request import Request
from triptych.export.verification.case import Case

Weights = Mapping[str, Callable[[], Array]]
"""All of a checkpoint's tensors by their names there, each read as float32 when it is called: what
the export computes with, which is the checkpoint's own values rounded as the export stores them."""


@dataclass(frozen=True, eq=False)
class Forward:
    """What one forward pass wrote.

    ports: by the pipeline's port names, each with the values that it takes on the way, oldest
    first. `inputs_embeds` has two where images are merged into it: the tokens' own rows, and what
    the decoder reads. Axes are those of docs/design.md with B = 1: `inputs_embeds` f32 [1, S, H],
    `deepstack_embeds` f32 [K, 1, S, H], `position_ids` i64 [3, S] or [S], `image_features` f32
    [N, H], `deepstack_features` f32 [K, N, H]. A port that is left out is not compared.
    logits: f32 [R, V], of the last R tokens of the pass.
    """

    logits: Array
    ports: Mapping[str, Sequence[Array]] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Course:
    """A prompt, and the greedy tokens after it.

    steps: the passes over each token but the last, i64 `tokens` [steps + 1] are those that were
    chosen: tokens[0] after the prompt, tokens[i] after steps[i - 1].
    """

    prompt: Forward
    steps: Sequence[Forward]
    tokens: Array


@dataclass(frozen=True, eq=False)
class Processed:
    """What another processor makes of a request.

    ids: i64 [S]. ports: of all media together, by name. placeholders_once: whether `ids` has one
    placeholder for each image, where a pipeline's prompt has one for each row of it.
    """

    ids: Array
    ports: Mapping[str, Array]
    placeholders_once: bool = False


class Reference(Protocol):
    """A model that is right by definition."""

    def run(self, case: Case, *, steps: int, rows: int) -> Course:
        """A prompt and `steps` greedy tokens.

        rows: of how many of the prompt's last tokens logits are wanted, at the most.
        """
        ...

    def processed(self, request: Request) -> Processed | None:
        """What its own processor makes of a request; None where it has none."""
        ...

    def made_up(self, random: np.random.Generator) -> Iterable[Case]:
        """Prompts of token ids and pictures of numbers, for pipelines without a processor."""
        ...

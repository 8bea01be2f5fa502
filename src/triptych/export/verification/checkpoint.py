"""A checkpoint run by transformers, in float32: what all of its models have in common.

What a stage of a pipeline should write is not computed here but overheard: hooks on the embedding
table, on the decoder and on its rotary embedding keep what passes there, so positions and the
merge of images are those of the model's own forward.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
import transformers
from transformers import AutoConfig
from transformers.utils import logging as transformers_logging

from triptych.core.ports import Array
from triptych.core.prompt import Prompt
from triptych.core.request import Request
from triptych.export.verification.case import Case
from triptych.export.verification.foreign_processor import ForeignProcessor
from triptych.export.verification.reference import Course, Forward, Processed, Weights

# Tokens of a made-up prompt.
WORDS = 24


class TransformersReference:
    """The model of a checkpoint, with the weights that its export computes with.

    architecture: the class in transformers. A family overrides `vision`, `inputs`, `fused` and
    `made_up` as far as it needs to.
    """

    architecture: ClassVar[str]

    def __init__(self, folder: Path, weights: Weights) -> None:
        """folder: for the config and the processor; the values come from `weights`."""
        self.folder = folder
        with _quiet():
            self.model: Any = _loaded(getattr(transformers, self.architecture), folder, weights)
        self.config: Any = self.model.config
        self._processor = ForeignProcessor(folder)

    def vision(self, media: Mapping[str, Array]) -> Mapping[str, Array]:
        """What the stages that look at media write, by port: `image_features` f32 [N, H], ...

        media: the processor's ports, of all media together.
        """
        del media
        return {}

    def inputs(self, ids: Array, media: Mapping[str, Array]) -> Mapping[str, torch.Tensor]:
        """What the model is called with besides `input_ids`; by default the media's ports.

        ids: i64 [S], the whole prompt. Not asked where there are no media.
        """
        del ids
        return {name: tensor(value) for name, value in media.items()}

    def fused(self, given: Mapping[str, Any]) -> Mapping[str, Array]:
        """Further ports that `merge` writes, from the keywords that the decoder was given.

        `inputs_embeds` and `position_ids` are seen to.
        """
        del given
        return {}

    def made_up(self, random: np.random.Generator) -> Iterable[Case]:
        """A prompt of random tokens. A family with pictures adds cases that have some."""
        yield Case("text only", Prompt(self.words(random, WORDS)))

    def words(self, random: np.random.Generator, count: int) -> Array:
        """Random ids i64 [count] below the first special one that the config names."""
        text = self.config.get_text_config()
        named = {**text.to_dict(), **self.config.to_dict()}
        special = [
            value
            for name, value in named.items()
            if name.endswith("_token_id") and isinstance(value, int) and value > 0
        ]
        return random.integers(0, min([text.vocab_size, *special]), count)

    def processed(self, request: Request) -> Processed | None:
        """What transformers' own processor of the folder makes of a request, if it has one."""
        return self._processor(request)

    @torch.no_grad()
    def run(self, case: Case, *, steps: int, rows: int) -> Course:
        """A prompt and `steps` greedy tokens, see `Reference`."""
        for module in self.model.modules():
            # Qwen's models remember how far an earlier prompt's images moved the positions.
            if getattr(module, "rope_deltas", None) is not None:
                module.rope_deltas = None
        media = case.media
        more = self.inputs(case.ids, media) if media else {}
        seen = {name: [value] for name, value in self._looked_at(media).items()}
        prompt, past = self._forward(case.ids, None, rows, more)
        prompt = Forward(prompt.logits, {**seen, **prompt.ports})
        tokens, passes = [int(prompt.logits[-1].argmax())], []
        while len(tokens) < steps:
            step, past = self._forward(np.array(tokens[-1:]), past, 1, {})
            passes.append(step)
            tokens.append(int(step.logits[-1].argmax()))
        return Course(prompt, tuple(passes), np.array(tokens, np.int64))

    def _looked_at(self, media: Mapping[str, Array]) -> Mapping[str, Array]:
        return self.vision(media) if media else {}

    def _forward(
        self, ids: Array, past: Any, rows: int, more: Mapping[str, torch.Tensor]
    ) -> tuple[Forward, Any]:
        with _overheard(self.model) as heard:
            out = self.model(
                input_ids=tensor(ids)[None],
                past_key_values=past,
                use_cache=True,
                logits_to_keep=rows,
                **more,
            )
        fused = heard.given["inputs_embeds"].numpy()
        rows_of_tokens = heard.rows[0].numpy()
        ports: dict[str, Sequence[Array]] = {
            "position_ids": [_places(heard.places[0])],
            "inputs_embeds": [rows_of_tokens, fused] if more else [rows_of_tokens],
        }
        ports.update({name: [value] for name, value in self.fused(heard.given).items()})
        return Forward(out.logits[0].float().numpy(), ports), out.past_key_values


class _Heard:
    """What passed the hooks during one call of a model, in the order in which it did."""

    def __init__(self) -> None:
        self.rows: list[torch.Tensor] = []
        self.places: list[torch.Tensor] = []
        self.given: Mapping[str, Any] = {}


@contextmanager
def _overheard(model: Any) -> Iterator[_Heard]:
    heard = _Heard()

    def embedded(module: Any, arguments: Any, rows: torch.Tensor) -> None:
        del module, arguments
        heard.rows.append(rows)

    def decoded(module: Any, arguments: Any, given: Mapping[str, Any]) -> None:
        del module, arguments
        heard.given = dict(given)

    def rotated(module: Any, arguments: Any, given: Mapping[str, Any]) -> None:
        del module
        heard.places.append(arguments[1] if len(arguments) > 1 else given["position_ids"])

    decoder = model.get_decoder()
    hooks = [
        model.get_input_embeddings().register_forward_hook(embedded),
        decoder.register_forward_pre_hook(decoded, with_kwargs=True),
        decoder.rotary_emb.register_forward_pre_hook(rotated, with_kwargs=True),
    ]
    try:
        yield heard
    finally:
        for hook in hooks:
            hook.remove()
    if heard.given.get("inputs_embeds") is None:
        heard.given = {**heard.given, "inputs_embeds": heard.rows[0]}


def _places(heard: torch.Tensor) -> Array:
    """Positions i64 [S] or [axes, S], of what a model with one row in its batch rotates by."""
    places: Array = heard.squeeze(-2).numpy() if heard.ndim > 1 else heard.numpy()
    return places


def tensor(array: Array) -> torch.Tensor:
    """The array as torch has it."""
    return torch.from_numpy(np.ascontiguousarray(array))


def _loaded(model: Any, folder: Path, weights: Weights) -> Any:
    config: Any = AutoConfig.from_pretrained(
        folder, local_files_only=True, trust_remote_code=False, dtype=torch.float32
    )
    # The weights are floats by now, however the checkpoint stores them.
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    state = {name: tensor(read()) for name, read in weights.items()}
    loaded = model.from_pretrained(None, config=config, state_dict=state, dtype=torch.float32)
    return loaded.eval()


@contextmanager
def _quiet() -> Iterator[None]:
    """Without transformers' progress bars and notes on loading."""
    logging: Any = transformers_logging
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()

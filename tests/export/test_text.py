"""Exported text-only decoders say what transformers says, for every family and rotation."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

import triptych
from tests.export.graphs import Graphs
from tests.export.text_checkpoints import LLAMA3, TEXT_SHAPES, YARN, TinyText, text_checkpoint
from triptych.core.errors import TriptychError
from triptych.export import export_checkpoint
from triptych.export.families import FamilyError
from triptych.export.graphs.rotary_plan import rotary_plan
from triptych.export.section import Section

Array = np.ndarray[Any, Any]
TOLERANCE = 1e-4
QUESTION = "What did the fox say to the hen, and why did she not believe a word of it?"


def assert_close(actual: Array, expected: Array, tolerance: float = TOLERANCE) -> None:
    assert actual.shape == expected.shape
    assert np.abs(actual - expected).max() <= tolerance * np.abs(expected).max()


@dataclass
class Text:
    """A checkpoint, its export as a pipeline, and transformers."""

    root: Path
    shape: TinyText

    def __post_init__(self) -> None:
        self.checkpoint = text_checkpoint(self.root / "checkpoint", self.shape)
        self.folder = export_checkpoint(self.checkpoint, self.root / "export")

    @cached_property
    def pipe(self) -> Any:
        return triptych.load(self.folder)

    @cached_property
    def graphs(self) -> Graphs:
        return Graphs(self.folder)

    @cached_property
    def model(self) -> Any:
        loaded: Any = AutoModelForCausalLM.from_pretrained(self.checkpoint, dtype=torch.float32)
        return loaded.eval()

    @cached_property
    def tokenizer(self) -> Any:
        return AutoTokenizer.from_pretrained(self.checkpoint)

    def ids(self, messages: list[dict[str, Any]]) -> Array:
        """The prompt of a conversation by transformers."""
        return np.array(
            self.tokenizer.apply_chat_template(
                messages, add_generation_prompt=True, return_dict=False
            )
        )

    @torch.no_grad()
    def logits(self, ids: Array) -> Array:
        """By transformers: of every token, [S, V]."""
        return self.model(torch.tensor(ids)[None]).logits[0].numpy()

    def greedy(self, ids: Array, steps: int) -> tuple[int, ...]:
        """By transformers: the tokens of its own greedy generation."""
        given = torch.tensor(ids)[None]
        out = self.model.generate(
            given,
            attention_mask=torch.ones_like(given),
            max_new_tokens=steps,
            min_new_tokens=steps,
            do_sample=False,
            eos_token_id=None,
        )
        return tuple(out[0, len(ids) :].tolist())


@pytest.fixture(scope="session")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return cache(lambda name: Text(tmp_path_factory.mktemp("text"), TEXT_SHAPES[name]))


@pytest.fixture(params=list(TEXT_SHAPES))
def text(request: pytest.FixtureRequest, texts: Any) -> Text:
    """Each of the tiny shapes in turn."""
    made: Text = texts(request.param)
    return made


def user(content: str) -> dict[str, str]:
    return {"role": "user", "content": content}


def prefill(text: Text, ids: Array, chunks: list[int]) -> Array:
    """Logits [S, V] of ids [S], forwarded in chunks of those lengths."""
    cache, logits, start = text.graphs.cache(), [], 0
    for length in chunks:
        part = np.arange(start, start + length)
        embeds = text.graphs.embed(ids[None, part])
        wanted = [list(range(length))]
        logits.append(cache.forward(embeds, part[None], [start + length], wanted=wanted)[0])
        start += length
    return np.concatenate(logits)


@pytest.mark.parametrize("chunks", [[40], [1] * 40, [7, 7, 7, 1, 1, 17]], ids=["1", "40", "6"])
def test_the_logits_of_a_prompt_in_any_slices_are_those_of_transformers(
    text: Text, chunks: list[int]
) -> None:
    ids = np.random.default_rng(1).integers(0, 256, 40)
    assert_close(prefill(text, ids, chunks), text.logits(ids))


def test_sixty_four_greedy_tokens_of_the_pipeline_are_those_of_transformers(text: Text) -> None:
    reply = text.pipe.generate(QUESTION, max_new_tokens=64)
    expected = text.greedy(text.ids([user(QUESTION)]), 64)
    assert reply.tokens == expected


def test_replies_vary_enough_to_prove_something(texts: Any) -> None:
    for name in "qwen3, untied, yarn", "qwen2, untied, yarn", "llama, linear, biased":
        assert len(set(texts(name).pipe.generate(QUESTION, max_new_tokens=64).tokens)) > 6


def test_the_prompt_in_slices_gives_the_same_tokens(text: Text) -> None:
    pipe = triptych.load(text.folder, overrides={"session.chunk": 5})
    whole = text.pipe.generate(QUESTION, max_new_tokens=24)
    assert pipe.generate(QUESTION, max_new_tokens=24).tokens == whole.tokens


def test_a_later_turn_of_a_chat_equals_a_fresh_run_and_transformers(text: Text) -> None:
    chat = text.pipe.chat(max_new_tokens=16)
    messages: list[dict[str, Any]] = []
    for question in "Who is there?", "And who else?":
        messages.append(user(question))
        fresh = triptych.Request(messages=messages)
        reply = chat.send(question)
        assert reply.tokens == text.pipe.generate(fresh, max_new_tokens=16).tokens
        ids = text.pipe.processor.prompt(fresh).tokens
        assert reply.tokens == text.greedy(ids, 16)
        messages.append({"role": "assistant", "content": None, "tokens": list(reply.tokens)})


def test_a_prompt_is_that_of_transformers(texts: Any) -> None:
    text = texts("qwen3, tied")
    ids = text.pipe.processor.prompt(triptych.Request(QUESTION)).tokens
    np.testing.assert_array_equal(ids, text.ids([user(QUESTION)]))


def test_a_pipeline_without_vision_has_no_stage_for_it(texts: Any) -> None:
    text = texts("llama, untied")
    lines = (text.folder / "pipeline.yaml").read_text().splitlines()
    stages = lines[lines.index("stages:") + 1 :]
    assert stages[:3] == [
        "  - positions",
        "  - embeddings: embeddings.onnx",
        "  - decoder: decoder.onnx",
    ]
    assert sorted(path.name for path in text.folder.glob("*.onnx")) == [
        "decoder.onnx",
        "embeddings.onnx",
    ]


def test_a_window_changes_what_is_said(texts: Any, tmp_path: Path) -> None:
    """So that the tests above show that it is the window of transformers."""
    text = texts("qwen2, a window")
    ids = np.random.default_rng(2).integers(0, 256, 30)
    folder = tmp_path / "checkpoint"
    shutil.copytree(text.checkpoint, folder)
    config = {**text.shape.config(), "use_sliding_window": False}
    (folder / "config.json").write_text(json.dumps(config))
    unlimited: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    with torch.no_grad():
        logits = unlimited(torch.tensor(ids)[None]).logits[0].numpy()
    windowed = text.logits(ids)
    assert np.abs(windowed - logits).max() > 0.01 * np.abs(logits).max()


# Rotations, with the values of published checkpoints

PUBLISHED = {
    "Llama 3.1": ({**LLAMA3, "original_max_position_embeddings": 8192}, 500_000.0, 128, 131_072),
    "Llama 3.2": (
        {**LLAMA3, "factor": 32.0, "original_max_position_embeddings": 8192},
        500_000.0,
        64,
        131_072,
    ),
    "Qwen2.5": ({**YARN, "original_max_position_embeddings": 32768}, 1_000_000.0, 128, 32_768),
    "Qwen3": (
        {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768},
        1_000_000.0,
        128,
        40_960,
    ),
    "YaRN by the context alone": (
        {"rope_type": "yarn", "factor": None, "original_max_position_embeddings": 4096},
        10_000.0,
        128,
        131_072,
    ),
    "YaRN with DeepSeek's scaling": (
        {**YARN, "factor": 40.0, "mscale": 0.707, "mscale_all_dim": 1.0, "beta_fast": 16},
        10_000.0,
        64,
        4096,
    ),
    "YaRN with a scaling of its own": (
        {**YARN, "attention_factor": 1.3, "truncate": False, "beta_slow": 2},
        10_000.0,
        64,
        4096,
    ),
    "linear": ({"type": "linear", "factor": 2.5}, 10_000.0, 128, 4096),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_frequencies_of_a_published_rotation_are_those_of_transformers(name: str) -> None:
    scaling, theta, head, context = PUBLISHED[name]
    values = TinyText("llama", head=head).config()
    values |= {"rope_theta": theta, "max_position_embeddings": context}
    values["rope_scaling"] = dict(scaling)
    plan = rotary_plan(Section(values, "config.json"), head, theta=1.0)
    config = AutoConfig.for_model(**json.loads(json.dumps(values)))
    kind = config.rope_parameters["rope_type"]
    expected, factor = ROPE_INIT_FUNCTIONS[kind](config)
    np.testing.assert_allclose(plan.frequencies, expected.numpy(), rtol=3e-7)
    assert plan.scaling == pytest.approx(factor, rel=1e-12)
    assert plan.frequencies.dtype == np.float32


# What is refused

REFUSED: dict[str, tuple[str, dict[str, Any], str]] = {
    "a rotation by length": (
        "llama",
        {"rope_scaling": {"type": "dynamic", "factor": 2.0}},
        "rope_scaling.type is 'dynamic', which cannot be exported: "
        "there is default, linear, llama3, yarn",
    ),
    "a long rotation": (
        "qwen3",
        {"rope_parameters": {"rope_type": "longrope", "rope_theta": 1e4}},
        "rope_parameters.rope_type is 'longrope'",
    ),
    "a rotation without its factor": (
        "llama",
        {"rope_scaling": {"type": "linear"}},
        "rope_scaling.factor is None, which cannot be exported: a number above zero",
    ),
    "Llama's rotation upside down": (
        "llama",
        {"rope_scaling": {**LLAMA3, "high_freq_factor": 0.5}},
        "high_freq_factor is 0.5, which cannot be exported: more than low_freq_factor, 1",
    ),
    "a part of each head": (
        "llama",
        {"rope_scaling": {"rope_type": "default", "partial_rotary_factor": 0.5}},
        "partial_rotary_factor is 0.5, which cannot be exported: whole heads",
    ),
    "a rotation for each kind of layer": (
        "qwen2",
        {"rope_parameters": {"full_attention": {"rope_type": "default"}}},
        "all layers have the same",
    ),
    "layers of an unknown kind": (
        "qwen2",
        {"use_sliding_window": True, "layer_types": ["full_attention", "linear", "linear"]},
        "3 of full_attention and sliding_attention",
    ),
    "an activation": ("llama", {"hidden_act": "gelu"}, "there is silu"),
    "a classifier": (
        "qwen3",
        {"architectures": ["Qwen3ForSequenceClassification"]},
        "architectures is .* there is what generates text, ...ForCausalLM",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_built_is_refused_by_name(tmp_path: Path, case: str) -> None:
    family, values, message = REFUSED[case]
    checkpoint = text_checkpoint(tmp_path / "checkpoint", TinyText(family, more=values))
    with pytest.raises(TriptychError, match=message):
        export_checkpoint(checkpoint, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("family", ["mistral", "gemma3_text", "qwen3_moe"])
def test_a_family_that_is_not_there_is_refused_with_those_that_are(
    tmp_path: Path, family: str
) -> None:
    checkpoint = text_checkpoint(
        tmp_path / "checkpoint", TinyText("llama", more={"model_type": family})
    )
    with pytest.raises(FamilyError, match=rf"'{family}'; there is .*llama, qwen2, "):
        export_checkpoint(checkpoint, tmp_path / "out")

"""Folders that ONNX Runtime GenAI's own model builder wrote give that runtime's own tokens."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

import triptych
from tests.conftest import SPECIAL, write_byte_processor
from triptych.core.prompt import Prompt

pytestmark = pytest.mark.external

HIDDEN, MLP, LAYERS, HEADS, KV_HEADS, HEAD = 64, 96, 3, 4, 2, 16
VOCABULARY = 256 + len(SPECIAL)
END = VOCABULARY - 1
NEW = 40
PROMPTS = ([5, 17, 33, 8, 60, 2, 41], [7], list(range(40, 100)))
FAMILIES = {"qwen3": "Qwen3ForCausalLM", "llama": "LlamaForCausalLM"}
CASES = {"qwen3": "fp32", "llama": "int4"}


def tensors(family):
    """Random weights of about unit gain, so that tokens do not repeat at once."""
    random = np.random.default_rng(len(family))

    def normal(*shape, scale):
        return (random.normal(size=shape) * scale).astype(np.float32)

    def linear(rows, columns):
        return normal(rows, columns, scale=columns**-0.5)

    yield "model.embed_tokens.weight", normal(VOCABULARY, HIDDEN, scale=1)
    yield "lm_head.weight", linear(VOCABULARY, HIDDEN) * 4
    yield "model.norm.weight", np.ones(HIDDEN, np.float32)
    for layer in range(LAYERS):
        root = f"model.layers.{layer}"
        for name in ("input_layernorm", "post_attention_layernorm"):
            yield f"{root}.{name}.weight", 1 + normal(HIDDEN, scale=0.1)
        for part, heads in (("q", HEADS), ("k", KV_HEADS), ("v", KV_HEADS)):
            yield f"{root}.self_attn.{part}_proj.weight", linear(heads * HEAD, HIDDEN)
        yield f"{root}.self_attn.o_proj.weight", linear(HIDDEN, HEADS * HEAD)
        if family == "qwen3":
            for part in "qk":
                yield f"{root}.self_attn.{part}_norm.weight", 1 + normal(HEAD, scale=0.1)
        for part in ("gate", "up"):
            yield f"{root}.mlp.{part}_proj.weight", linear(MLP, HIDDEN)
        yield f"{root}.mlp.down_proj.weight", linear(HIDDEN, MLP)


def checkpoint(folder, family):
    """A checkpoint folder as Hugging Face has it, with a tokenizer of bytes."""
    write_byte_processor(folder)
    config = {
        "architectures": [FAMILIES[family]],
        "model_type": family,
        "vocab_size": VOCABULARY,
        "hidden_size": HIDDEN,
        "intermediate_size": MLP,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": KV_HEADS,
        "head_dim": HEAD,
        "hidden_act": "silu",
        "max_position_embeddings": 256,
        "rms_norm_eps": 1e-6,
        "rope_theta": 10000.0,
        "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0},
        "tie_word_embeddings": False,
        "eos_token_id": END,
        "dtype": "float32",
    }
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    save_file(dict(tensors(family)), folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def run(*command):
    """A program's output; its errors are the test's."""
    done = subprocess.run(
        [sys.executable, *map(str, command)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout


@pytest.fixture(scope="module", params=CASES)
def folder(request, tmp_path_factory):
    """What the builder makes of a checkpoint."""
    root = tmp_path_factory.mktemp(request.param)
    source = checkpoint(root / "checkpoint", request.param)
    builder = "onnxruntime_genai.models.builder"
    arguments = ["-m", source, "-o", root / "built", "-p", CASES[request.param]]
    run("-m", builder, *arguments, "-e", "cpu", "-c", root / "cache")
    return root / "built"


@pytest.fixture(scope="module")
def expected(folder):
    """GenAI's own greedy tokens, by prompt."""
    program = Path(__file__).parent / "genai_greedy.py"
    return [json.loads(run(program, folder, NEW, *prompt)) for prompt in PROMPTS]


def said(pipe, prompt):
    stream = pipe.begin(Prompt(np.array(prompt)), {"no_sample": True, "max_new_tokens": NEW})
    reply = stream.reply
    return list(reply.tokens), reply.finish_reason


def same(pipe, expected):
    for prompt, tokens in zip(PROMPTS, expected, strict=True):
        ends = tokens[-1] == END or len(tokens) < NEW
        shown = tokens[:-1] if tokens[-1] == END else tokens
        assert said(pipe, prompt) == (shown, "eos" if ends else "length")


def test_the_folder_runs_as_it_is(folder, expected):
    assert any(len(set(tokens)) > NEW / 2 for tokens in expected), "the tokens vary"
    pipe = triptych.load(folder)
    assert pipe.spec.stages[-1].settings.cache_form == "shared"
    same(pipe, expected)


def test_its_graph_takes_growing_pasts_and_short_slices(folder, expected):
    changes = {"decoder.cache_form": "growing", "session.chunk": 16}
    same(triptych.load(folder, overrides=changes), expected)


def test_what_import_wrote_runs_too(folder, expected, tmp_path):
    from triptych.cli.main import main

    file = tmp_path / "built.yaml"
    assert main(["import", str(folder), "--out", str(file)]) == 0
    same(triptych.load(file, allow_outside=True), expected)


def test_text_is_answered_with_the_folder_s_tokenizer(folder):
    reply = triptych.load(folder).generate("Hello", no_sample=True, max_new_tokens=5)
    assert reply.usage.completion_tokens == len(reply.tokens) > 0

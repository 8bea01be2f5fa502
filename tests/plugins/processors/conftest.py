"""A small Hugging Face folder with Qwen3-VL's special tokens, and its parts."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tokenizers import AddedToken, Regex, Tokenizer, decoders, normalizers, pre_tokenizers
from tokenizers.models import BPE
from tokenizers.trainers import BpeTrainer

from triptych.plugins.processors.hf import HFProcessor

SPECIAL = [
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
]
ADDED = ["<tool_call>", "</tool_call>", "<think>", "</think>"]
"""Tokens of their own that are not special, as Qwen's are not."""

CHATML = """\
{%- macro show(content) -%}
  {%- if content is string -%}
    {{- content -}}
  {%- else -%}
    {%- for part in content -%}
      {%- if part.type == 'image' -%}
        {{- '<|vision_start|><|image_pad|><|vision_end|>' -}}
      {%- else -%}
        {{- part.text -}}
      {%- endif -%}
    {%- endfor -%}
  {%- endif -%}
{%- endmacro -%}
{%- for message in messages %}
    {{- '<|im_start|>' ~ message.role ~ '\\n' }}
    {%- generation %}
    {{- show(message.content) }}
    {%- for call in message.tool_calls or [] %}
        {{- '<tool_call>\\n' + (call | tojson) + '\\n</tool_call>' }}
    {%- endfor %}
    {%- endgeneration %}
    {{- '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""

# What Qwen's tokenizers split a text with; without it ids would differ from transformers',
# which writes its own into every tokenizer of this class.
WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
CORPUS = [
    "What colour is the circle? The circle is red, and the square beside it is blue.",
    "Describe this picture, please. There are two triangles; one is green.",
    "Grüße aus Zürich, 你好世界, こんにちは, привет мир, नमस्ते, 👩‍👩‍👧 👍🏽 🇩🇪 é ä̤",
    "<|im_start|>user\n<|im_end|>\n|im_end|> <| |> im_end image_pad 0123456789\n\n\t",
] * 4

IMAGE_CONFIG = {
    "image_processor_type": "Qwen2VLImageProcessorFast",
    "do_resize": True,
    "do_rescale": True,
    "do_normalize": True,
    "do_convert_rgb": True,
    "resample": 3,
    "size": {"shortest_edge": 64 * 64, "longest_edge": 448 * 448},
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5],
    "patch_size": 16,
    "temporal_patch_size": 2,
    "merge_size": 2,
}


def train() -> Tokenizer:
    """A byte-level BPE of a few hundred tokens, made as Qwen's is."""
    tokenizer = Tokenizer(BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(WORDS), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = BpeTrainer(vocab_size=600, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(CORPUS, trainer)
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in SPECIAL])
    tokenizer.add_tokens([AddedToken(token, normalized=False) for token in ADDED])
    return tokenizer


def write(path: Path, data: object) -> None:
    path.write_text(json.dumps(data), encoding="utf-8")


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that tests share; do not write in it."""
    folder = tmp_path_factory.mktemp("qwen")
    tokenizer = train()
    tokenizer.save(str(folder / "tokenizer.json"))
    image = tokenizer.token_to_id("<|image_pad|>")
    end = tokenizer.token_to_id("<|im_end|>")
    other_end = tokenizer.token_to_id("<|endoftext|>")
    write(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "Qwen2Tokenizer",
            "eos_token": "<|im_end|>",
            "pad_token": "<|endoftext|>",
            "model_max_length": 4096,
        },
    )
    write(
        folder / "config.json",
        {
            "model_type": "qwen3_vl",
            "image_token_id": image,
            "text_config": {"model_type": "qwen3_vl_text", "max_position_embeddings": 4096},
        },
    )
    write(folder / "generation_config.json", {"eos_token_id": [end, other_end]})
    write(folder / "preprocessor_config.json", IMAGE_CONFIG)
    (folder / "chat_template.jinja").write_text(CHATML, encoding="utf-8")
    return folder


@pytest.fixture
def folder(trained: Path, tmp_path: Path) -> Path:
    """A copy of the folder, to write in."""
    return shutil.copytree(trained, tmp_path / "model")


@pytest.fixture(scope="session")
def processor(trained: Path) -> HFProcessor:
    return HFProcessor(HFProcessor.Settings(folder=trained))


@pytest.fixture(scope="session")
def load() -> Callable[..., HFProcessor]:
    def make(folder: Path, **settings: Any) -> HFProcessor:
        return HFProcessor(HFProcessor.Settings(folder=folder, **settings))

    return make


@pytest.fixture(scope="session")
def tokenizer(trained: Path) -> Any:
    """transformers' own reading of the folder's text part."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(trained, local_files_only=True)


@pytest.fixture(scope="session")
def image_processor(trained: Path) -> Any:
    """transformers' own reading of the folder's image part."""
    from transformers import AutoImageProcessor

    return AutoImageProcessor.from_pretrained(trained, local_files_only=True, backend="pil")

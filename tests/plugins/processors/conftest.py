"""A small Hugging Face folder with Qwen3-VL's special tokens, and its parts."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
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

VIDEO_CONFIG = {
    "video_processor_type": "Qwen3VLVideoProcessor",
    "size": {"shortest_edge": 4096, "longest_edge": 40_000},
    "patch_size": 16,
    "temporal_patch_size": 2,
    "merge_size": 2,
}
IMAGE_PART = "{{- '<|vision_start|><|image_pad|><|vision_end|>' -}}"
VIDEO_PART = (
    "{%- elif part.type == 'video' -%}{{- '<|vision_start|><|video_pad|><|vision_end|>' -}}"
)


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


@pytest.fixture(scope="session")
def video_folder(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shared folder, for videos, too, as Qwen3-VL's are published."""
    folder = tmp_path_factory.mktemp("qwen") / "video"
    shutil.copytree(trained, folder)
    (folder / "video_preprocessor_config.json").write_text(json.dumps(VIDEO_CONFIG))
    template = (folder / "chat_template.jinja").read_text()
    assert IMAGE_PART in template
    (folder / "chat_template.jinja").write_text(
        template.replace(IMAGE_PART, IMAGE_PART + VIDEO_PART)
    )
    return folder


@pytest.fixture(scope="session")
def lay_out(video_folder: Path) -> Callable[..., tuple[list[int], list[int]]]:
    """transformers' ids and kinds (0 text, 1 image, 2 video) of each token.

    Its processor cannot be made without torchvision; what lays out the text needs only the
    grids, and when the frames are.
    """
    import torch
    from transformers import AutoTokenizer, Qwen3VLProcessor
    from transformers.video_utils import VideoMetadata

    tokenizer = AutoTokenizer.from_pretrained(video_folder, local_files_only=True)
    processor = object.__new__(Qwen3VLProcessor)
    processor.image_token, processor.video_token = "<|image_pad|>", "<|video_pad|>"
    processor.vision_start_token, processor.vision_end_token = "<|vision_start|>", "<|vision_end|>"
    for kind in ("image", "video"):
        token = tokenizer.convert_tokens_to_ids(f"<|{kind}_pad|>")
        setattr(processor, f"{kind}_token_id", token)
        setattr(
            processor, f"{kind}_processor", SimpleNamespace(merge_size=2, temporal_patch_size=2)
        )

    def laid_out(
        messages: list[dict[str, Any]],
        images: list[tuple[int, int, int]],
        clips: list[tuple[tuple[int, int, int], list[int], float]],
    ) -> tuple[list[int], list[int]]:
        """images: grids. clips: grid, indices of the frames, and frames per second."""
        text = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
        image_inputs = {"image_grid_thw": torch.tensor(images)}
        video_inputs = {
            "video_grid_thw": torch.tensor([grid for grid, _, _ in clips]),
            "video_metadata": [
                VideoMetadata(total_num_frames=9, fps=fps, frames_indices=list(indices))
                for _, indices, fps in clips
            ],
        }
        (whole,), _ = processor.get_text_with_replacements(
            [text],
            [processor.replace_image_token(image_inputs, i) for i in range(len(images))],
            [processor.replace_video_token(video_inputs, i) for i in range(len(clips))],
        )
        ids = tokenizer(whole)["input_ids"]
        kinds = [
            1 * (token == processor.image_token_id) + 2 * (token == processor.video_token_id)
            for token in ids
        ]
        return ids, kinds

    return laid_out

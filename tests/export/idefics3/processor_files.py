"""The files beside the weights of a tiny Idefics3 or SmolVLM: tokenizer, template, settings."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE
from tokenizers.trainers import BpeTrainer

SPECIAL = [
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<fake_token_around_image>",
    "<image>",
    "<global-img>",
    *(f"<row_{row}_col_{column}>" for row in range(1, 7) for column in range(1, 7)),
    "<end_of_utterance>",
]

# Merges two line ends into one token, as the published tokenizers do.
WORDS = Regex(r" ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+")
CORPUS = [
    "What is in the picture? Two circles are in the picture, one is red.\n\n",
    "User: Assistant: System: Describe it.\n\n Compare them:\n0123456789",
] * 4

TEMPLATE = """\
<|im_start|>
{%- for message in messages -%}
  {{- message.role | capitalize ~ ':' -}}
  {%- if message.content[0].type != 'image' %}{{ ' ' }}{% endif -%}
  {%- for part in message.content -%}
    {%- if part.type == 'image' %}{{ '<image>' }}{% else %}{{ part.text }}{% endif -%}
  {%- endfor -%}
  {{- '<end_of_utterance>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt %}{{ 'Assistant:' }}{% endif -%}
"""


@cache
def tokenizer() -> Tokenizer:
    """A byte-level BPE with the tokens that these families put around images."""
    made = Tokenizer(BPE())
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(WORDS, "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    made.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = BpeTrainer(vocab_size=300, initial_alphabet=alphabet, show_progress=False)
    made.train_from_iterator(CORPUS, trainer)
    made.add_special_tokens([AddedToken(token, special=True) for token in SPECIAL])
    return made


def token_id(token: str) -> int:
    found = tokenizer().token_to_id(token)
    assert found is not None
    return int(found)


def write_processor_files(
    folder: Path, *, side: int, rows: int, longest: int, family: str = "Idefics3", **settings: Any
) -> Path:
    """Writes the files; returns `folder`.

    side: pixels of a tile's side. rows: tokens of a tile. longest: pixels of the longer side that
    a picture is resized to. settings: of the image processor.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer().save(str(folder / "tokenizer.json"))
    files: dict[str, dict[str, Any]] = {
        "tokenizer_config.json": {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": "<|im_start|>",
            "eos_token": "<end_of_utterance>",
            "pad_token": "<|im_end|>",
        },
        "preprocessor_config.json": {
            "image_processor_type": f"{family}ImageProcessor",
            "size": {"longest_edge": longest},
            "max_image_size": {"longest_edge": side},
            "resample": 1,
            "image_mean": [0.5, 0.5, 0.5],
            "image_std": [0.5, 0.5, 0.5],
            **settings,
        },
        "config.json": {"model_type": family.lower(), "image_token_id": token_id("<image>")},
        "processor_config.json": {"processor_class": f"{family}Processor", "image_seq_len": rows},
    }
    for name, values in files.items():
        (folder / name).write_text(json.dumps(values), encoding="utf-8")
    (folder / "chat_template.jinja").write_text(TEMPLATE, encoding="utf-8")
    return folder


def reference_processor(folder: Path) -> Any:
    """transformers' own processor of such a folder."""
    from transformers import Idefics3Processor, PreTrainedTokenizerFast
    from transformers.models.idefics3.image_processing_pil_idefics3 import (
        Idefics3ImageProcessorPil,
    )

    settings = json.loads((folder / "processor_config.json").read_text(encoding="utf-8"))
    return Idefics3Processor(
        Idefics3ImageProcessorPil.from_pretrained(folder),
        PreTrainedTokenizerFast.from_pretrained(folder),
        image_seq_len=settings["image_seq_len"],
        chat_template=TEMPLATE,
    )

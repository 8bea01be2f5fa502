"""The tokenizer of sketch: byte-level BPE over what its conversations say.

Any text can be encoded (the 256 bytes are tokens); digits are always single tokens.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from random import Random

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from triptych.models.sketch.conversations import draw_conversation
from triptych.models.sketch.facts import (
    CAPITAL_QUESTIONS,
    CAPITALS,
    COUNTRY_QUESTIONS,
    SMALL_TALK,
    SYSTEM_PROMPTS,
)
from triptych.models.sketch.scenes import WORDS

END_OF_TEXT = "<|endoftext|>"
IM_START = "<|im_start|>"
IM_END = "<|im_end|>"
VISION_START = "<|vision_start|>"
VISION_END = "<|vision_end|>"
IMAGE_PAD = "<|image_pad|>"
VIDEO_PAD = "<|video_pad|>"
SPECIAL = (END_OF_TEXT, IM_START, IM_END, VISION_START, VISION_END, IMAGE_PAD, VIDEO_PAD)
"""Qwen's special tokens; their ids are their places in this tuple."""

PIECES = r"\p{N}| ?\p{L}+| ?[^\s\p{L}\p{N}]+|\s+"
"""What a token never reaches beyond: one digit, a word, a run of signs, a run of space."""

TEMPLATE = Path(__file__).with_name("chat_template.jinja")


def _corpus(conversations: int) -> Iterator[str]:
    """Text as sketch will see and say it, the rare facts often enough to become tokens."""
    for index in range(conversations):
        conversation = draw_conversation(Random(f"tokenizer {index}"), ((96, 96), (96, 96)))
        if conversation.system:
            yield f"system\n{conversation.system}"
        for turn in conversation.turns:
            yield f"user\n{turn.exchange.question}"
            yield f"assistant\n{turn.exchange.answer}"
    for _ in range(8):
        for word in WORDS:
            yield from (word, f" {word}", word.upper(), f" {word.upper()}")
        for country, capital in CAPITALS.items():
            yield from (form.format(country) for form in CAPITAL_QUESTIONS)
            yield from (form.format(capital) for form in COUNTRY_QUESTIONS)
            yield from (country, capital)
        for questions, answer in SMALL_TALK:
            yield from (*questions, answer)
        yield from SYSTEM_PROMPTS


def train_tokenizer(vocabulary: int, *, conversations: int = 4000) -> Tokenizer:
    """A tokenizer of at most `vocabulary` tokens, the special ones first."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PIECES), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        min_frequency=2,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_corpus(conversations), trainer)
    return tokenizer


def save_tokenizer(tokenizer: Tokenizer, folder: Path) -> None:
    """Write what `AutoTokenizer.from_pretrained(folder)` reads, chat template included."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": IM_END,
        "pad_token": END_OF_TEXT,
        "additional_special_tokens": [token for token in SPECIAL if token != END_OF_TEXT],
        "model_max_length": 2048,
        "clean_up_tokenization_spaces": False,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n")
    (folder / "chat_template.jinja").write_text(TEMPLATE.read_text())

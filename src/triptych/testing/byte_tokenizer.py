"""A tokenizer of bytes, for checkpoints and pipelines that are made up in a test."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

END = "<|end|>"
"""The special token that ends a reply."""

BYTES = 256

TEMPLATE = (
    "{% for message in messages %}{% if message.content is string %}{{ message.content }}"
    "{% else %}{% for part in message.content %}{% if part.type == 'text' %}{{ part.text }}"
    "{% else %}<|{{ part.type }}|>{% endif %}{% endfor %}{% endif %}{% endfor %}"
)
"""A message is its text; a picture in it is ``<|image|>``."""


def write_byte_tokenizer(folder: Path, special: Sequence[str] = (END,)) -> int:
    """Write a tokenizer and a chat template into `folder`; how many tokens there are.

    Tokens 0 to 255 are bytes, in the order in which byte-level tokenizers spell them; then the
    `special` ones, of which the first ends a reply.
    """
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    folder.mkdir(parents=True, exist_ok=True)
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {letter: token for token, letter in enumerate(letters)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(text, special=True) for text in special])
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": special[0],
        "clean_up_tokenization_spaces": False,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    (folder / "chat_template.jinja").write_text(TEMPLATE, encoding="utf-8")
    return BYTES + len(special)

"""The tokenizer of sketch encodes anything; its chat template is ChatML."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer
from transformers import AutoTokenizer

from triptych.models.sketch.batches import encode
from triptych.models.sketch.conversations import draw_conversation
from triptych.models.sketch.sizes import places
from triptych.models.sketch.tokenizer import SPECIAL, save_tokenizer, train_tokenizer

TOKENIZER = train_tokenizer(600, conversations=200)


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    folder = Path(tmp_path_factory.mktemp("tokenizer"))
    save_tokenizer(TOKENIZER, folder)
    return AutoTokenizer.from_pretrained(folder)


@given(st.text())
def test_any_text_comes_back_whole(text: str) -> None:
    if not any(token in text for token in SPECIAL):
        assert TOKENIZER.decode(TOKENIZER.encode(text).ids) == text


def test_digits_are_single_tokens() -> None:
    assert TOKENIZER.encode("4096").tokens == ["4", "0", "9", "6"]
    assert not any(len(token) > 1 and any(map(str.isdigit, token))
                   for token in TOKENIZER.get_vocab())  # fmt: skip


def test_special_tokens_are_qwens_and_come_first(loaded) -> None:
    assert [loaded.convert_tokens_to_ids(token) for token in SPECIAL] == list(range(7))
    assert SPECIAL == (
        "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>",
        "<|image_pad|>", "<|video_pad|>",
    )  # fmt: skip
    assert loaded.eos_token == "<|im_end|>"
    assert loaded.pad_token == "<|endoftext|>"
    assert loaded.decode([1, 2, 5], skip_special_tokens=True) == ""


def test_training_the_tokenizer_again_gives_the_same() -> None:
    again = train_tokenizer(600, conversations=200)
    assert Tokenizer.from_str(again.to_str()).get_vocab() == TOKENIZER.get_vocab()


def test_the_chat_template_writes_chatml(loaded) -> None:
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [
            {"type": "image"}, {"type": "image", "image": "x.png"},
            {"type": "text", "text": "Same {{ shape }}?"},
        ]},
        {"role": "assistant", "content": [{"type": "text", "text": "yes"}]},
        {"role": "user", "content": "And the <b>color</b>?"},
    ]  # fmt: skip
    image = "<|vision_start|><|image_pad|><|vision_end|>"
    expected = (
        "<|im_start|>system\nBe brief.<|im_end|>\n"
        f"<|im_start|>user\n{image}{image}Same {{{{ shape }}}}?<|im_end|>\n"
        "<|im_start|>assistant\nyes<|im_end|>\n"
        "<|im_start|>user\nAnd the <b>color</b>?<|im_end|>\n"
    )
    assert loaded.apply_chat_template(messages, tokenize=False) == expected
    opened = loaded.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    assert opened == expected + "<|im_start|>assistant\n"


@pytest.mark.parametrize("seed", range(25))
def test_training_reads_what_the_template_writes(loaded, seed: int) -> None:
    conversation = draw_conversation(Random(seed), ((96, 130), (64, 64)))
    text = loaded.apply_chat_template(conversation.messages(), tokenize=False)
    head, *rest = text.split("<|image_pad|>")
    for scene, part in zip(conversation.scenes, rest, strict=True):
        head += "<|image_pad|>" * places((scene.image.height, scene.image.width)) + part
    ids, weights, turns = encode(conversation, TOKENIZER)
    assert ids == loaded(head)["input_ids"]
    answers = [
        loaded.decode([i for i, t in zip(ids, turns, strict=True) if t == number])
        for number in range(len(conversation.turns))
    ]
    assert answers == [f"{turn.exchange.answer}<|im_end|>" for turn in conversation.turns]
    assert all((weight > 0) == (turn >= 0) for weight, turn in zip(weights, turns, strict=True))

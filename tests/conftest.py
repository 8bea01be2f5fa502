"""A whole pipeline with random weights, small enough to be made anew by every test run."""

from __future__ import annotations

import atexit
import json
import os
import shutil
import signal
import tempfile

import pytest
from hypothesis import HealthCheck, settings

# On a busy machine an example may take seconds, which is no fault of the code.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")

# A shell's background jobs ignore Ctrl-C, and so would all that tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)

# What starts keep is kept apart from what the user's own have kept.
os.environ["TRIPTYCH_CACHE"] = tempfile.mkdtemp(prefix="triptych-tests-")
atexit.register(shutil.rmtree, os.environ["TRIPTYCH_CACHE"], ignore_errors=True)

SPECIAL = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|image_pad|>",
    "<|video_pad|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|im_end|>",
)
"""The ids after the 256 bytes; the last five are where `TinyShape` has them."""

TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n"
    "{% if message.content is string %}{{ message.content }}{% else %}"
    "{% for part in message.content %}"
    "{% if part.type == 'text' %}{{ part.text }}"
    "{% else %}<|vision_start|><|{{ part.type }}_pad|><|vision_end|>{% endif %}"
    "{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def write_byte_processor(folder):
    """A tokenizer whose tokens are bytes and Qwen's special ones, and Qwen's media processors."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    folder.mkdir(parents=True, exist_ok=True)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={sign: i for i, sign in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(text, special=True) for text in SPECIAL])
    tokenizer.save(str(folder / "tokenizer.json"))
    patches = {
        "patch_size": 16,
        "merge_size": 2,
        "temporal_patch_size": 2,
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
    }
    files = {
        "tokenizer_config.json": {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "eos_token": "<|im_end|>",
            "pad_token": "<|endoftext|>",
            "clean_up_tokenization_spaces": False,
        },
        "preprocessor_config.json": {
            **patches,
            "image_processor_type": "Qwen2VLImageProcessor",
            "size": {"shortest_edge": 32 * 32, "longest_edge": 128 * 128},
        },
        "video_preprocessor_config.json": {
            **patches,
            "video_processor_type": "Qwen3VLVideoProcessor",
            "size": {"shortest_edge": 32 * 32, "longest_edge": 4 * 128 * 128},
        },
    }
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content), encoding="utf-8")
    (folder / "chat_template.jinja").write_text(TEMPLATE, encoding="utf-8")
    return folder


def say_letters_only(checkpoint):
    """Make small letters and the space far more likely than all other tokens, EOS included."""
    from safetensors.numpy import load_file, save_file

    tokens = json.loads((checkpoint / "tokenizer.json").read_text(encoding="utf-8"))
    vocabulary = tokens["model"]["vocab"]
    # A byte-level tokenizer writes the space as this letter.
    spoken = [vocabulary[sign] for sign in "abcdefghijklmnopqrstuvwxyz\u0120"]
    weights = load_file(checkpoint / "model.safetensors")
    head = weights["lm_head.weight"]
    head[[row for row in range(len(head)) if row not in spoken]] = 0
    head[spoken] *= 8
    save_file(weights, checkpoint / "model.safetensors")


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory):
    """A checkpoint folder of a random Qwen3-VL that says letters; greedy. Needs no torch.

    It never ends a reply by itself.
    """
    from tests.export.checkpoints import TinyShape, random_checkpoint

    root = tmp_path_factory.mktemp("tiny")
    checkpoint = random_checkpoint(
        root / "checkpoint",
        shape=TinyShape(vocabulary=256 + len(SPECIAL), tied=False),
        processor_files=write_byte_processor(root / "processor"),
        generation_config={"do_sample": False},
    )
    say_letters_only(checkpoint)
    return checkpoint


@pytest.fixture(scope="session")
def tiny_pipeline(tiny_checkpoint):
    """The folder of that checkpoint's export: three graphs and a pipeline.yaml. Do not change it.

    Its replies mean nothing, but they are the same every time, and depend on the picture.
    """
    from triptych.export import export_checkpoint

    return export_checkpoint(tiny_checkpoint, tiny_checkpoint.parent / "pipeline")


@pytest.fixture(scope="session")
def picture(tmp_path_factory):
    """A picture of 64 by 96 pixels, in a file."""
    from PIL import Image, ImageDraw

    image = Image.new("RGB", (96, 64), "white")
    ImageDraw.Draw(image).ellipse((20, 10, 60, 50), fill="red")
    path = tmp_path_factory.mktemp("picture") / "a red circle.png"
    image.save(path)
    return path

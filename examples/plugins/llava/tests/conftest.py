"""A tiny LLaVA with random weights, and its export."""

import json

import numpy as np
import pytest
import torch
from transformers import (
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
)
from triptych_llava.exporter import LlavaExporter

from triptych.export import export_checkpoint
from triptych.testing import write_byte_tokenizer

SPECIAL = ("</s>", "<image>")
TEMPLATE = (
    "{% for message in messages %}{{ message.role | upper }}: "
    "{% for part in message.content %}{% if part.type == 'image' %}<image>\n"
    "{% else %}{{ part.text }}{% endif %}{% endfor %} {% endfor %}"
    "{% if add_generation_prompt %}ASSISTANT:{% endif %}"
)
SIDE, PATCH = 28, 7


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory):
    """A folder as transformers saves it."""
    folder = tmp_path_factory.mktemp("llava") / "checkpoint"
    vocabulary = write_byte_tokenizer(folder, SPECIAL)
    (folder / "chat_template.jinja").write_text(TEMPLATE, encoding="utf-8")
    tower = CLIPVisionConfig(
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=3,
        num_attention_heads=4,
        image_size=SIDE,
        patch_size=PATCH,
    )
    text = LlamaConfig(
        hidden_size=48,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=6,
        num_key_value_heads=2,
        head_dim=8,
        vocab_size=vocabulary,
        max_position_embeddings=512,
        eos_token_id=256,
    )
    torch.manual_seed(0)
    config = LlavaConfig(vision_config=tower, text_config=text, image_token_index=257)
    model = LlavaForConditionalGeneration(config).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            # Livelier than as initialised, so that tokens depend on the picture.
            weight.mul_(6 if "norm" not in name and weight.ndim > 1 else 1)
    model.save_pretrained(folder)
    pictures = {
        "image_processor_type": "CLIPImageProcessor",
        "size": {"shortest_edge": SIDE},
        "crop_size": {"height": SIDE, "width": SIDE},
        "image_mean": [0.48145466, 0.4578275, 0.40821073],
        "image_std": [0.26862954, 0.26130258, 0.27577711],
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(pictures), encoding="utf-8")
    # For transformers' own processor, with which `verify` compares prompts.
    prompts = {
        "processor_class": "LlavaProcessor",
        "image_token": "<image>",
        "patch_size": PATCH,
        "vision_feature_select_strategy": "default",
        "num_additional_image_tokens": 1,
    }
    (folder / "processor_config.json").write_text(json.dumps(prompts), encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def model(checkpoint):
    """The checkpoint in transformers."""
    return LlavaForConditionalGeneration.from_pretrained(checkpoint, dtype=torch.float32).eval()


@pytest.fixture(scope="session")
def pipeline(checkpoint):
    """The folder of its export."""
    return export_checkpoint(checkpoint, checkpoint.parent / "pipeline", family=LlavaExporter)


@pytest.fixture(scope="session")
def picture():
    """uint8 [44, 60, 3]."""
    rows, columns = np.mgrid[:44, :60]
    return np.stack([rows * 5, columns * 4, (rows + columns) * 2], axis=-1).astype(np.uint8)

"""The shape of sketch: a real Qwen3-VL (DeepStack, interleaved MRoPE, GQA), only small."""

from __future__ import annotations

import torch
from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration

from triptych.models.sketch.sizes import MERGE, PATCH
from triptych.models.sketch.tokenizer import (
    END_OF_TEXT,
    IMAGE_PAD,
    SPECIAL,
    VIDEO_PAD,
    VISION_END,
    VISION_START,
)

VOCABULARY = 1024


def sketch_config(vocabulary: int = VOCABULARY) -> Qwen3VLConfig:
    """The configuration of sketch, 5.6 million parameters."""
    text = {
        "vocab_size": vocabulary,
        "hidden_size": 192,
        "intermediate_size": 432,
        "num_hidden_layers": 6,
        "num_attention_heads": 6,
        "num_key_value_heads": 2,
        "head_dim": 32,
        "max_position_embeddings": 2048,
        "pad_token_id": SPECIAL.index(END_OF_TEXT),
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 10000.0,
            "mrope_section": [6, 5, 5],
            "mrope_interleaved": True,
        },
        "tie_word_embeddings": True,
    }
    vision = {
        "depth": 6,
        "hidden_size": 160,
        "intermediate_size": 448,
        "num_heads": 5,
        "patch_size": PATCH,
        "spatial_merge_size": MERGE,
        "temporal_patch_size": 2,
        "out_hidden_size": 192,
        "num_position_embeddings": 144,
        "deepstack_visual_indexes": [1, 3],
    }
    return Qwen3VLConfig(
        text_config=text,
        vision_config=vision,
        image_token_id=SPECIAL.index(IMAGE_PAD),
        video_token_id=SPECIAL.index(VIDEO_PAD),
        vision_start_token_id=SPECIAL.index(VISION_START),
        vision_end_token_id=SPECIAL.index(VISION_END),
        tie_word_embeddings=True,
    )


def build_model(seed: int, vocabulary: int = VOCABULARY) -> Qwen3VLForConditionalGeneration:
    """A model with fresh weights, float32; the same for the same seed."""
    torch.manual_seed(seed)
    return Qwen3VLForConditionalGeneration(sketch_config(vocabulary))

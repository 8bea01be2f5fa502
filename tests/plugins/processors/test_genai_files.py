"""GenAI's files stand for Hugging Face's."""

import json

import pytest

from triptych.plugins.processors.folder import ModelFolder
from triptych.plugins.processors.genai_files import image_config

MODEL = {"eos_token_id": [7, 9], "context_length": 512, "image_token_id": 5, "bos_token_id": 1}


def steps(*transforms):
    operations = [{"operation": {"type": kind, "attrs": attrs}} for kind, attrs in transforms]
    return {"processor": {"name": "any", "transforms": operations}}


@pytest.fixture
def folder(tmp_path):
    def write(**files):
        for name, content in files.items():
            (tmp_path / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
        return ModelFolder(tmp_path)

    return write


def test_genai_config_tells_the_ends_the_context_and_the_placeholder(folder):
    found = folder(genai_config={"model": MODEL}, tokenizer_config={"eos_token": "<|endoftext|>"})
    assert found.eos_tokens == {7, 9}
    assert found.max_context == 512
    assert found.image_token == 5


def test_hugging_face_s_own_files_come_first(folder):
    found = folder(
        genai_config={"model": MODEL},
        config={"max_position_embeddings": 99, "image_token_id": 6},
        generation_config={"eos_token_id": 3},
    )
    assert (found.eos_tokens, found.max_context, found.image_token) == ({3}, 99, 6)


@pytest.mark.parametrize("content", [{}, {"model": None}, {"model": {}}])
def test_a_config_that_says_nothing_is_empty(folder, content):
    assert folder(genai_config=content).config == {}


def test_the_steps_to_patches_are_an_image_processor(folder):
    found = folder(
        processor_config=steps(
            ("DecodeImage", {"color_space": "RGB"}),
            ("Resize", {"min_pixels": 64, "max_pixels": 4096, "interpolation": "CUBIC"}),
            ("Rescale", {"rescale_factor": 0.5}),
            ("Normalize", {"mean": [0.1, 0.2, 0.3], "std": [1, 2, 3]}),
            ("PatchImage", {"patch_size": 8, "temporal_patch_size": 2, "merge_size": 4}),
        )
    )
    assert found.image_config == {
        "image_processor_type": "Qwen2VLImageProcessor",
        "min_pixels": 64,
        "max_pixels": 4096,
        "resample": 3,
        "rescale_factor": 0.5,
        "image_mean": [0.1, 0.2, 0.3],
        "image_std": [1, 2, 3],
        "patch_size": 8,
        "temporal_patch_size": 2,
        "merge_size": 4,
    }


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"processor": 3},
        {"processor": {"transforms": [1, {"operation": 2}]}},
        steps(("Resize", None), ("CenterCrop", {"size": 3})),
    ],
)
def test_steps_that_do_not_end_in_patches_are_none(content):
    assert image_config(content) == {}

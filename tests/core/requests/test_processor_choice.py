"""The processor that a pipeline of a folder names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from triptych.core.layouts.processor import processor_for

PATCHES = {"image_processor_type": "Qwen2VLImageProcessorFast"}
TILES = {"image_processor_type": "Idefics3ImageProcessor"}


def folder(path: Path, *, tokenizer: bool = True, **files: dict[str, Any]) -> Path:
    for name, content in files.items():
        (path / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
    if tokenizer:
        (path / "tokenizer.json").write_text("{}", encoding="utf-8")
    return path


@pytest.mark.parametrize("model", ["qwen2_vl", "qwen2_5_vl", "qwen3_vl", "qwen3_vl_moe"])
def test_qwens_that_see_have_a_processor_of_their_own(tmp_path: Path, model: str) -> None:
    config = {"model_type": model}
    assert processor_for(folder(tmp_path, config=config, preprocessor_config=PATCHES)) == "qwen_vl"


@pytest.mark.parametrize("model", ["qwen2", "qwen3"])
def test_so_have_qwens_that_only_read(tmp_path: Path, model: str) -> None:
    assert processor_for(folder(tmp_path, config={"model_type": model})) == "qwen_vl"


def test_a_genai_folder_says_its_model_in_its_own_file(tmp_path: Path) -> None:
    made = folder(tmp_path, genai_config={"model": {"type": "qwen2"}})
    assert processor_for(made) == "qwen_vl"


@pytest.mark.parametrize(
    "files",
    [
        {"config": {"model_type": "llama"}},
        {"config": {"model_type": "idefics3"}, "preprocessor_config": TILES},
        {"config": {"model_type": "qwen2_vl"}, "preprocessor_config": TILES},
        {"config": {"model_type": "qwen3_vl"}, "tokenizer": False},
        {"config": {"model_type": ["qwen3_vl"]}},
        {"preprocessor_config": PATCHES},
        {},
    ],
    ids=str,
)
def test_any_other_folder_has_the_processor_for_any(tmp_path: Path, files: Any) -> None:
    assert processor_for(folder(tmp_path, **files)) == "hf"


def test_a_broken_file_is_left_to_the_processor_to_report(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{", encoding="utf-8")
    assert processor_for(tmp_path) == "hf"

"""The pipeline.yaml that an export writes."""

from __future__ import annotations

import shutil

import pytest
from ruamel.yaml import YAML

from tests.export.checkpoints import random_checkpoint
from triptych.core.config.locate import builtin
from triptych.export import export_checkpoint
from triptych.export.pipeline_file import pipeline_yaml, sampler

STAGES = [
    ("vision_encoder", "vision_encoder.onnx"),
    ("mrope", None),
    ("embeddings", "embeddings.onnx"),
    ("merge", None),
    ("decoder", "decoder.onnx"),
]


def written(generation=None, source="qwen3-vl-2b"):
    return pipeline_yaml(
        source=source,
        precision="fp16",
        processor="qwen_vl",
        stages=STAGES,
        generation=generation,
    )


def test_the_file_reads_as_a_person_would_write_it():
    assert written() == (
        """\
# A Triptych pipeline: qwen3-vl-2b, exported with fp16 weights.
# Run it:    triptych run FOLDER --image photo.jpg --text "What is this?"
# Stages run from top to bottom; each reads and writes named tensors. Insert your own between
# them, swap one, or change the sampler below: `triptych check FOLDER` says whether it still fits.
# The tokenizer, the chat template and the stop tokens are in the files beside this one.
format: 1
processor: {qwen_vl: .}
stages:
  - vision_encoder: vision_encoder.onnx
  - mrope
  - embeddings: embeddings.onnx
  - merge
  - decoder: decoder.onnx
sampler:
  - temperature: 0.7
  - top_k: 50
  - top_p: 0.9
  - draw
strategy: autoregressive
stop: {max_new_tokens: 100}
session: {providers: [cpu], threads: auto}
"""
    )


@pytest.mark.parametrize(
    ("generation", "expected"),
    [
        (None, ["temperature: 0.7", "top_k: 50", "top_p: 0.9", "draw"]),
        ({"eos_token_id": 3}, ["temperature: 0.7", "top_k: 50", "top_p: 0.9", "draw"]),
        ({"do_sample": False}, ["greedy"]),
        ({"do_sample": False, "temperature": 0.8}, ["greedy"]),
        ({"do_sample": True, "temperature": 0}, ["greedy"]),
        (
            {"do_sample": True, "temperature": 0.6, "top_k": 20, "top_p": 0.8},
            ["temperature: 0.6", "top_k: 20", "top_p: 0.8", "draw"],
        ),
        # What transformers assumes for the keys that are not there.
        ({"do_sample": True}, ["top_k: 50", "draw"]),
        ({"do_sample": True, "top_k": 0}, ["draw"]),
        ({"temperature": 0.3, "top_k": None}, ["temperature: 0.3", "top_k: 50", "draw"]),
        ({"do_sample": True, "temperature": "warm", "top_k": True}, ["top_k: 50", "draw"]),
    ],
)
def test_the_chain_is_what_the_generation_config_asks_for(generation, expected):
    assert sampler(generation) == expected


def test_what_the_chain_cannot_do_is_said():
    text = written({"do_sample": True, "repetition_penalty": 1.05, "min_p": None, "num_beams": 1})
    notes = [line for line in text.splitlines() if "asks for" in line]
    assert notes == [
        "  # generation_config.json asks for repetition_penalty: 1.05, too; no step here does that."
    ]


def test_a_name_with_line_breaks_stays_a_comment():
    text = written(source="x\nformat: 2")
    assert YAML(typ="safe").load(text)["format"] == 1


def test_an_export_names_the_processor_that_serves_its_folder(tmp_path):
    sketch = builtin("sketch")
    files = tmp_path / "files"
    files.mkdir()
    for name in "tokenizer.json", "tokenizer_config.json", "preprocessor_config.json":
        shutil.copy(sketch / name, files)
    checkpoint = random_checkpoint(tmp_path / "whole", processor_files=files)
    out = export_checkpoint(checkpoint, tmp_path / "out")
    assert "\nprocessor: {qwen_vl: .}\n" in (out / "pipeline.yaml").read_text()
    (checkpoint / "tokenizer.json").unlink()
    out = export_checkpoint(checkpoint, tmp_path / "older")
    assert "\nprocessor: {hf: .}\n" in (out / "pipeline.yaml").read_text()

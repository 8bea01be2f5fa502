"""What every exporter promises, and what this one does."""

import json

import numpy as np
import pytest
import triptych
from safetensors.numpy import save_file
from triptych.export import export_checkpoint
from triptych.testing import check_exporter, write_byte_tokenizer

from __PACKAGE__.__NAME__ import __CLASS__

HIDDEN = 8


@pytest.fixture
def checkpoint(tmp_path):
    """A folder with random weights and a tokenizer of bytes."""
    folder = tmp_path / "checkpoint"
    vocabulary = write_byte_tokenizer(folder)
    config = {"model_type": "__NAME__", "vocab_size": vocabulary, "hidden_size": HIDDEN}
    (folder / "config.json").write_text(json.dumps(config))
    random = np.random.default_rng(0)
    weights = {
        f"model.{name}": random.standard_normal((vocabulary, HIDDEN), np.float32)
        for name in ("table", "head")
    }
    save_file(weights, folder / "model.safetensors")
    return folder, weights


def test_it_keeps_an_exporters_promises(checkpoint):
    folder, _ = checkpoint
    check_exporter(__CLASS__, checkpoint=folder)


def test_the_pipeline_says_what_the_weights_say(checkpoint, tmp_path):
    folder, weights = checkpoint
    pipe = triptych.load(export_checkpoint(folder, tmp_path / "pipeline", family=__CLASS__))
    reply = pipe.generate("a", max_new_tokens=5, sampler=["greedy"])
    token = pipe.processor.encode("a")[0]
    for chosen in reply.tokens:
        token = int((weights["model.head"] @ weights["model.table"][token]).argmax())
        assert chosen == token

"""Folders that other tools make are held against a pipeline of Triptych's, port by port."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.layouts import rewired
from triptych.export import verify_export
from triptych.export.verification.spelling import spelled

SKETCH = Path("sketch")


def test_layers_of_deepstack_that_have_a_port_each(tmp_path):
    result = verify_export(rewired.community(tmp_path / "made"), SKETCH, steps=1)
    assert result.passed
    assert {"deepstack_features_0", "deepstack_features_1", "deepstack_embeds_1"} <= {
        one.port for one in result.checks
    }


def test_deepstack_that_a_folder_has_no_place_for(tmp_path):
    result = verify_export(rewired.genai(tmp_path / "made"), SKETCH, steps=1)
    failed = [(one.stage, one.port) for one in result.checks if not one.passed]
    assert failed[:3] == [
        ("vision_encoder", "deepstack_features"),
        ("embeddings", "deepstack_embeds"),
        ("decoder", "logits of the prompt"),
    ]
    logits = [one for one in result.measured if one.port == "logits of the prompt"]
    assert {one.case for one in logits if one.passed} == {"random tokens", "text only"}


def test_a_port_of_all_layers_becomes_a_port_for_each_and_back():
    layers = np.arange(6.0).reshape(2, 3)
    apart = spelled({"deep": [layers]}, {"deep_0", "deep_1"})
    assert [apart[f"deep_{layer}"][0].tolist() for layer in (0, 1)] == [[0, 1, 2], [3, 4, 5]]
    joined = spelled(apart, {"deep"})
    assert joined.keys() == {"deep"}
    assert np.array_equal(joined["deep"][0], layers)
    assert spelled({"deep": [layers]}, {"deep"})["deep"][0] is layers

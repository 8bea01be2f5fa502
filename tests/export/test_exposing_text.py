"""Text models, windows of attention and experts tell what transformers has inside, too."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

import triptych
from tests.export.qwen3_vl_moe.checkpoints import MOE_SHAPES
from tests.export.test_exposing import TOLERANCE, Open, empty_pasts, inside
from tests.export.text_checkpoints import TEXT_SHAPES, text_checkpoint
from triptych.export import export_checkpoint

TEXT = "A sentence that is longer than the window of any of these models, by far."


@pytest.mark.parametrize(
    "name", ["qwen2, a window", "qwen3, biased, a window", "llama, llama3, tied"]
)
def test_a_text_models_attention_and_hidden_states_are_transformers_own(name, tmp_path):
    checkpoint = text_checkpoint(tmp_path / "checkpoint", TEXT_SHAPES[name])
    folder = export_checkpoint(checkpoint, tmp_path / "export", expose="hidden:all,attention:all")
    pipe = triptych.load(folder)
    model = AutoModelForCausalLM.from_pretrained(
        checkpoint, dtype=torch.float32, attn_implementation="eager"
    ).eval()
    ids = torch.tensor(pipe.processor.prompt(triptych.Request(TEXT)).tokens)[None]
    with torch.no_grad():
        out = model(ids, output_attentions=True, output_hidden_states=True)
        normed = model.model.norm
    last = len(out.attentions) - 1
    for layer, attention in enumerate(out.attentions):
        rows = pipe.run_until(f"attention.{layer}", TEXT)
        np.testing.assert_allclose(rows, attention.numpy(), atol=TOLERANCE)
        hidden = pipe.run_until(f"hidden.{layer}", TEXT)
        if layer == last:
            hidden = normed(torch.tensor(hidden)).detach().numpy()
        np.testing.assert_allclose(hidden, out.hidden_states[layer + 1].numpy(), atol=TOLERANCE)


@pytest.mark.parametrize("name", ["two of eight experts"])
def test_hidden_states_of_a_mixture_of_experts_are_transformers_own(name, tmp_path):
    opened = Open(MOE_SHAPES[name], tmp_path)
    expected, length = inside(opened), len(opened.prompt)
    session, pasts = opened.session("decoder"), empty_pasts(opened.shape)
    [wrote] = opened.decode(session, pasts, [(0, length)])
    for layer in range(opened.shape.layers):
        hidden = wrote[f"hidden.{layer}"][0]
        np.testing.assert_allclose(hidden, expected.hidden[layer], atol=TOLERANCE)

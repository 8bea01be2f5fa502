"""Decoders of other families: biases, other rotations, windows, tiles, experts."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

import triptych
from tests.export.checkpoints import random_checkpoint
from tests.export.idefics3.checkpoints import SHAPES as IDEFICS_SHAPES
from tests.export.idefics3.checkpoints import random_checkpoint as idefics_checkpoint
from tests.export.qwen2_vl.checkpoints import VL_SHAPES, vl_checkpoint
from tests.export.qwen3_vl_moe.checkpoints import TinyMoeShape
from tests.export.text_checkpoints import TEXT_SHAPES, text_checkpoint
from triptych.export import export_checkpoint
from triptych.export.checkpoint import Checkpoint
from triptych.export.gptq import MeasuringPrecision, calibrated
from triptych.export.precision import RecipePrecision, stored_weights
from triptych.export.precision.recipe import Recipe
from triptych.export.qwen3_vl_moe.exporter import Qwen3VLMoeExporter

RECIPE = "format: 1\ndefault: {{precision: int4, method: {method}}}\n" + "".join(
    f"{part}: int8\n" for part in ("vision", "embeddings", "head")
)
CASES = [
    *(
        (text_checkpoint, TEXT_SHAPES[name])
        for name in ("qwen2, a window", "llama, linear, biased")
    ),
    (vl_checkpoint, VL_SHAPES["Qwen2.5-VL, tied"]),
    (idefics_checkpoint, IDEFICS_SHAPES["biased, tiles below the table"]),
]


@pytest.mark.parametrize(("make", "shape"), CASES)
def test_all_linears_of_a_decoder_are_calibrated_and_the_export_runs(make, shape, tmp_path):
    (tmp_path / "checkpoint").mkdir()
    checkpoint = make(tmp_path / "checkpoint", shape)
    colors = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)
    picture = Image.fromarray(colors)
    prompts = [
        triptych.Request(text="Some words.", images=[picture]),
        triptych.Request(text="Some words, and more of them."),
    ]
    found = {}
    for method in ("rtn", "gptq"):
        recipe = tmp_path / f"{method}.yaml"
        recipe.write_text(RECIPE.format(method=method))
        out = tmp_path / method
        export_checkpoint(checkpoint, out, recipe=recipe, calibration=prompts)
        found[method] = {name: read() for name, read in stored_weights(out).items()}
    differ = {
        name
        for name, values in found["rtn"].items()
        if not np.array_equal(values, found["gptq"][name])
    }
    # The vision encoder is left to hqq here, so it differs, too.
    decoder = {name for name in differ if "vis" not in name and "connector" not in name}
    assert len({name for name in decoder if "_proj.weight" in name}) == 7 * shape.layers
    reply = triptych.load(tmp_path / "gptq").generate("Hello", no_sample=True, max_new_tokens=3)
    assert len(reply.tokens) == 3


def test_of_a_mixture_the_dense_linears_are_calibrated_and_experts_are_not(tmp_path):
    shape = TinyMoeShape(dense_layers=(1,))
    checkpoint = Checkpoint(random_checkpoint(tmp_path / "checkpoint", shape=shape))
    asked = Recipe(default={"precision": "int4", "method": "gptq"})
    precision = MeasuringPrecision("test", asked)
    decoder = dict(Qwen3VLMoeExporter(checkpoint, precision).graphs())["decoder.onnx"]
    random = np.random.default_rng(0)
    count = 20
    prompt = {
        "inputs_embeds": random.standard_normal((1, count, shape.hidden)).astype(np.float32),
        "attention_mask": np.ones((1, count), np.int64),
        "position_ids": np.arange(count)[None, None].repeat(3, axis=0),
        "deepstack_embeds": np.zeros((len(shape.deepstack), 1, 1, shape.hidden), np.float32),
    }
    found = calibrated(decoder, precision.linears, [prompt], tmp_path)
    # Routers, too, stay what they are.
    assert len(found) == 4 * shape.layers + 3
    precise = RecipePrecision("test", asked, given=found)
    assert "decoder.onnx" in dict(Qwen3VLMoeExporter(checkpoint, precise).graphs())
    assert {name.split(".mlp.")[0][-1] for name in found if ".mlp." in name} == {"1"}

"""What an export of Qwen2-VL or Qwen2.5-VL holds, and which checkpoints are refused."""

from __future__ import annotations

import json

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import triptych
from tests.export.qwen2_vl.checkpoints import VL_SHAPES, vl_checkpoint
from triptych.core.errors import TriptychError
from triptych.core.graph_header import read_header
from triptych.export import export_checkpoint
from triptych.export.section import ModelConfigError

OLD, NEW = VL_SHAPES["Qwen2-VL, tied"], VL_SHAPES["Qwen2.5-VL, tied"]


def ports(path):
    header = read_header(path)
    return [str(port) for port in (*header.inputs, *header.outputs)]


@pytest.mark.parametrize("shape", [OLD, NEW], ids=["Qwen2-VL", "Qwen2.5-VL"])
def test_an_export_has_no_deepstack(tmp_path, shape):
    out = export_checkpoint(vl_checkpoint(tmp_path / "checkpoint", shape), tmp_path / "out")
    assert ports(out / "vision_encoder.onnx") == [
        "pixel_values float32 [patches, 1176]",
        "image_grid_thw int64 [images, 3]",
        "image_features float32 [N, 64]",
    ]
    assert ports(out / "decoder.onnx")[:4] == [
        "inputs_embeds float32 [B, S, 64]",
        "attention_mask int64 [B, total]",
        "position_ids int64 [3, B, S]",
        "logit_index int64 [B, R]",
    ]
    lines = (out / "pipeline.yaml").read_text().splitlines()
    at = lines.index("stages:")
    assert lines[at + 1 : at + 6] == [
        "  - vision_encoder: vision_encoder.onnx",
        "  - mrope",
        "  - embeddings: embeddings.onnx",
        '  - merge: {"deepstack": false}',
        "  - decoder: decoder.onnx",
    ]
    assert json.loads((out / "export.json").read_text())["family"] == shape.family


def test_what_transformers_saves_is_exported(vl_models, tmp_path):
    """It writes its own names and nests the config, or the published ones: whichever it likes."""
    made = vl_models("Qwen2.5-VL, tied")
    made.model.save_pretrained(tmp_path / "saved", max_shard_size="100KB")
    out = export_checkpoint(tmp_path / "saved", tmp_path / "out")
    for name in "vision_encoder.onnx", "decoder.onnx":
        assert (out / name).stat().st_size == pytest.approx(
            (made.folder / name).stat().st_size, rel=0.02
        )
    pixels = np.random.default_rng(0).uniform(-1, 1, (60, 1176)).astype(np.float32)
    grids = np.array([[1, 6, 10]])
    from tests.export.graphs import Graphs

    found, expected = Graphs(out).vision(pixels, grids)[0], made.graphs.vision(pixels, grids)[0]
    np.testing.assert_array_equal(found, expected)


def changed(checkpoint, *path, value):
    """The checkpoint with another value in its config."""
    config = json.loads((checkpoint / "config.json").read_text())
    part = config
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = value
    (checkpoint / "config.json").write_text(json.dumps(config))
    return checkpoint


BROKEN = {
    "no vision": (OLD, ("vision_config",), None, "no `vision_config`"),
    "an activation": (OLD, ("vision_config", "hidden_act"), "gelu", "there is quick_gelu"),
    "a gated activation": (NEW, ("vision_config", "hidden_act"), "gelu", "there is silu"),
    "heads": (OLD, ("vision_config", "num_heads"), 5, "num_heads is 5.* share the 32 values"),
    "a merge": (NEW, ("vision_config", "spatial_merge_size"), 1, "there is 2"),
    "a window": (NEW, ("vision_config", "window_size"), 14, "at least 2 patches of 14 pixels"),
    "sections": (
        NEW,
        ("rope_scaling", "mrope_section"),
        [2, 2, 2],
        r"rope_scaling.mrope_section is \[2, 2, 2\].*its numbers sum to 8",
    ),
    "a rotation": (OLD, ("rope_scaling", "type"), "dynamic", "there is default, linear, llama3"),
    "a head size": (OLD, ("head_dim",), 32, "the heads share the hidden size, 16 each"),
    "a size that the weights do not have": (
        NEW,
        ("vision_config", "intermediate_size"),
        68,
        r"gate_proj.weight has the shape \[64, 32\], but config.json implies \[68, 32\]",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_config_that_cannot_be_exported_names_the_key(tmp_path, case):
    shape, path, value, message = BROKEN[case]
    checkpoint = changed(vl_checkpoint(tmp_path / "checkpoint", shape), *path, value=value)
    with pytest.raises(TriptychError, match=message):
        export_checkpoint(checkpoint, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_quantized_vision_encoder_is_refused(tmp_path):
    checkpoint = vl_checkpoint(tmp_path / "checkpoint", NEW)
    changed(checkpoint, "quantization_config", value={"quant_method": "gptq", "bits": 4})
    weights = load_file(checkpoint / "model.safetensors")
    name = "visual.blocks.0.attn.qkv"
    weights[f"{name}.qweight"] = weights.pop(f"{name}.weight").astype(np.int32)
    save_file(weights, checkpoint / "model.safetensors")
    with pytest.raises(
        ModelConfigError, match=r"quant_method is 'gptq'.*the vision encoder is stored as floats"
    ):
        export_checkpoint(checkpoint, tmp_path / "out")


def test_a_video_is_refused_before_anything_runs(vl_models):
    pipe = vl_models("Qwen2.5-VL, tied").pipe
    part = {"type": "video", "video": "clip.gif"}
    content = [part, {"type": "text", "text": "What happens?"}]
    with pytest.raises(TriptychError, match=r"takes no videos.*'Qwen2VLVideoProcessor'"):
        pipe.generate(triptych.Request(messages=[{"role": "user", "content": content}]))

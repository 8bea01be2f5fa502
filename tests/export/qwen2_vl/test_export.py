"""What an export of Qwen2-VL or Qwen2.5-VL holds, and which checkpoints are refused."""

from __future__ import annotations

import json

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import triptych
from tests.export.qwen2_vl.checkpoints import VL_SHAPES, vl_checkpoint
from triptych.core.errors import TriptychError
from triptych.core.graphs.header import read_header
from triptych.export import export_checkpoint
from triptych.export.qwen2_vl.config import (
    Windows,
    read_qwen2_5_vision,
    read_qwen2_vision,
    read_text,
)
from triptych.export.section import Section

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


PUBLISHED = {
    "Qwen2-VL 2B": (
        read_qwen2_vision,
        {"depth": 32, "embed_dim": 1280, "mlp_ratio": 4, "num_heads": 16, "hidden_size": 1536},
        {"hidden_size": 1536, "num_attention_heads": 12, "num_key_value_heads": 2},
        (5120, 1536, None),
    ),
    "Qwen2.5-VL 3B": (
        read_qwen2_5_vision,
        {
            "depth": 32,
            "hidden_act": "silu",
            "hidden_size": 1280,
            "intermediate_size": 3420,
            "num_heads": 16,
            "out_hidden_size": 2048,
            "window_size": 112,
            "fullatt_block_indexes": [7, 15, 23, 31],
        },
        {"hidden_size": 2048, "num_attention_heads": 16, "num_key_value_heads": 2},
        (3420, 2048, Windows(8, frozenset({7, 15, 23, 31}))),
    ),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_config_has_the_shape_of_its_model(name):
    """Its text keys are at the top, and what is as usual is left out."""
    read, vision, text, (inner, out, windows) = PUBLISHED[name]
    config = {
        **text,
        "vision_config": {**vision, "in_chans": 3, "patch_size": 14, "spatial_patch_size": 14},
        "num_hidden_layers": 28,
        "intermediate_size": 8960,
        "vocab_size": 151936,
        "use_sliding_window": False,
        "sliding_window": 32768,
        "rope_theta": 1000000.0,
        "rope_scaling": {"type": "mrope", "mrope_section": [16, 24, 24]},
    }
    eyes = read(Section(config, "config.json", name="vision_config"))
    assert (eyes.head, eyes.patch_values, eyes.merged_hidden) == (80, 1176, 5120)
    assert (eyes.intermediate, eyes.out_hidden, eyes.windows) == (inner, out, windows)
    shape = read_text(config, "config.json")
    assert (shape.head, shape.epsilon, shape.windows) == (128, 1e-5, {})
    assert shape.rotary.axes == (0,) * 16 + (1,) * 24 + (2,) * 24


@pytest.mark.parametrize("halves", [["model."], ["model.", "visual."]], ids=["text", "both"])
def test_a_checkpoint_that_is_quantized_already_means_its_dequantized_values(tmp_path, halves):
    """As published AWQ checkpoints are: with a vision encoder in floats, or not."""
    from tests.export.graphs import Graphs
    from tests.export.packed.writers import CONFIGS, awq, quantize

    checkpoint = vl_checkpoint(tmp_path / "checkpoint", NEW)
    floats = load_file(checkpoint / "model.safetensors")
    packed = dict(floats)
    for name, weight in floats.items():
        inside = ".layers." in name or ".blocks." in name
        if not (inside and weight.ndim == 2 and name.startswith(tuple(halves))):
            continue
        codes, scales, zeros, floats[name] = quantize(weight, 32, 4)
        del packed[name]
        for part, values in awq(codes, scales, zeros, 4).items():
            packed[name.removesuffix("weight") + part] = np.ascontiguousarray(values)
    save_file(floats, checkpoint / "model.safetensors")
    expected = Graphs(export_checkpoint(checkpoint, tmp_path / "floats"))
    save_file(packed, checkpoint / "model.safetensors")
    said = {**CONFIGS["awq"], "bits": 4, "group_size": 32}
    changed(checkpoint, "quantization_config", value=said)
    found = Graphs(export_checkpoint(checkpoint, tmp_path / "packed", precision="fp32"))
    pixels = np.random.default_rng(0).uniform(-1, 1, (60, 1176)).astype(np.float32)
    grids = np.array([[1, 6, 10]])
    np.testing.assert_allclose(
        found.vision(pixels, grids)[0], expected.vision(pixels, grids)[0], atol=1e-5
    )
    places = np.broadcast_to(np.arange(7), (3, 1, 7))
    logits = [
        graphs.cache().forward(graphs.embed(np.arange(7)[None]), places, [7])
        for graphs in (found, expected)
    ]
    np.testing.assert_allclose(*logits, atol=1e-4)


def test_a_video_is_refused_before_anything_runs(vl_models):
    pipe = vl_models("Qwen2.5-VL, tied").pipe
    part = {"type": "video", "video": "clip.gif"}
    content = [part, {"type": "text", "text": "What happens?"}]
    with pytest.raises(TriptychError, match=r"takes no videos.*'Qwen2VLVideoProcessor'"):
        pipe.generate(triptych.Request(messages=[{"role": "user", "content": content}]))

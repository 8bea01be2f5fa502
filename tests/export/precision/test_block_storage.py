"""Exports with blocks compute what their weights say, and store each weight once."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace

import numpy as np
import onnx
import pytest
from safetensors.numpy import load_file, save_file

from tests.export.checkpoints import SHAPES, random_checkpoint
from tests.export.graphs import Graphs
from triptych.export import export_checkpoint
from triptych.export.checkpoint import Checkpoint
from triptych.export.graph_files import GraphFiles
from triptych.export.precision import RecipePrecision, sources, stored_weights
from triptych.export.precision.blocks import BlockFormat, Blocks
from triptych.export.precision.quantizers import rtn
from triptych.export.precision.recipe_file import recorded_recipe
from triptych.export.precision.row_storage import OPERATOR as ROWS
from triptych.export.qwen3_vl.exporter import Qwen3VLExporter

IDS = np.arange(9)[None]
PIXELS = np.random.default_rng(0).uniform(-1, 1, [24, 1536]).astype(np.float32)
GRIDS = np.array([[1, 4, 6]])
WEIGHTS = "model.safetensors"
TABLE = "model.language_model.embed_tokens.weight"


def recipe(**said):
    return recorded_recipe({"format": 1, **said}, "a test", name="test")


def computed(folder):
    """Image features, embedded rows and the logits of a prompt."""
    graphs = Graphs(folder)
    rows = graphs.embed(IDS)
    wanted = [list(range(IDS.size))]
    positions = np.broadcast_to(IDS, (3, *IDS.shape))
    logits = graphs.cache().forward(rows, positions, [IDS.size], wanted=wanted)
    return {"features": graphs.vision(PIXELS, GRIDS)[0], "rows": rows, "logits": logits}


def of_stored_weights(checkpoint, folder, work):
    """What an fp32 export of the weights in `folder` computes."""
    original = load_file(checkpoint / WEIGHTS)
    held = stored_weights(folder)
    assert set(held) == set(original)
    held = {name: read().reshape(original[name].shape) for name, read in held.items()}
    copy = work / "copy"
    random_checkpoint(copy, shape=SHAPES["tied"])
    (copy / "config.json").write_text((checkpoint / "config.json").read_text())
    save_file(held, copy / WEIGHTS)
    return computed(export_checkpoint(copy, work / "of stored weights"))


def difference(found, expected):
    return {
        name: np.abs(found[name] - expected[name]).max() / np.abs(expected[name]).max()
        for name in found
    }


CASES = {
    "8 bits": ("tied", {"precision": "int8"}),
    "8 bits, symmetric": ("tied", {"precision": "int8", "symmetric": True}),
    "4 bits": ("tied", {"precision": "int4"}),
    "4 bits, symmetric": ("tied", {"precision": "int4", "symmetric": True}),
    "4 bits, rounded to nearest": ("tied", {"precision": "int4", "method": "rtn"}),
    "blocks of 64": ("untied, one kv head", {"precision": "int4", "block": 64}),
    "blocks of 128": ("untied, one kv head", {"precision": "int8", "block": 128}),
    "rows that end within a block": ("as many kv heads, biased", {"precision": "int4"}),
    "the same, symmetric": (
        "as many kv heads, biased", {"precision": "int4", "block": 64, "symmetric": True},
    ),
    "a table by itself whose rows end within a block": (
        "biased, untied", {"precision": "int8", "block": 64},
    ),
}  # fmt: skip
SHAPE = {**SHAPES, "biased, untied": replace(SHAPES["as many kv heads, biased"], tied=False)}


@pytest.mark.parametrize("case", CASES)
def test_an_export_computes_what_its_weights_say(tmp_path, case):
    """At accuracy level 1 products are float32: equal but for the order of sums."""
    name, choice = CASES[case]
    checkpoint = random_checkpoint(tmp_path / "checkpoint", shape=SHAPE[name])
    exact = recipe(default={**choice, "accuracy_level": 1})
    folder = export_checkpoint(checkpoint, tmp_path / "out", recipe=exact)
    found = computed(folder)
    expected = of_stored_weights(checkpoint, folder, tmp_path)
    assert max(difference(found, expected).values()) < 1e-5
    np.testing.assert_array_equal(found["rows"], expected["rows"])
    np.testing.assert_array_equal(found["logits"].argmax(-1), expected["logits"].argmax(-1))


@pytest.mark.parametrize("precision", ["int8", "int4"])
def test_a_preset_computes_that_within_the_noise_of_int8_products(tmp_path, precision):
    checkpoint = random_checkpoint(tmp_path / "checkpoint")
    folder = export_checkpoint(checkpoint, tmp_path / "out", precision=precision)
    apart = difference(computed(folder), of_stored_weights(checkpoint, folder, tmp_path))
    assert max(apart.values()) < RecipePrecision("", recipe(default=precision).recipe).tolerance
    assert apart["logits"] > 0


def external(path):
    """File, offset and length of each weight outside of a graph, by name."""
    found = {}
    for weight in onnx.load(path, load_external_data=False).graph.initializer:
        place = {entry.key: entry.value for entry in weight.external_data}
        if place:
            found[weight.name] = (place["location"], place["offset"], place["length"])
    return found


@pytest.mark.parametrize(
    ("choice", "size"),
    [
        # 96 rows of 64 values: codes, two scales of 4 bytes each, and two zeros in 1 or 2 bytes.
        ({"precision": "int4"}, 96 * (32 + 8 + 1)),
        ({"precision": "int8"}, 96 * (64 + 8 + 2)),
        ({"precision": "int4", "symmetric": True}, 96 * (32 + 8)),
        ("fp16", 96 * 128),
    ],
)
def test_a_tied_table_is_stored_once(tmp_path, choice, size):
    checkpoint = random_checkpoint(tmp_path / "checkpoint")
    folder = export_checkpoint(checkpoint, tmp_path / "out", recipe=recipe(default=choice))
    assert (folder / "shared.data").stat().st_size == size
    ours, theirs = (external(folder / f"{name}.onnx") for name in ("embeddings", "decoder"))
    assert ours == theirs
    assert sum(int(length) for _, _, length in ours.values()) == size
    assert (folder / "embeddings.onnx").stat().st_size < 4000


@pytest.mark.parametrize(
    "head", ["int8", {"method": "rtn"}, {"symmetric": True}, {"block": 64}, "fp32"]
)
def test_a_tied_table_that_a_recipe_stores_in_two_ways_is_two_tables(tmp_path, head):
    checkpoint = random_checkpoint(tmp_path / "checkpoint")
    two = recipe(default={"precision": "int4", "accuracy_level": 1}, head=head)
    folder = export_checkpoint(checkpoint, tmp_path / "out", recipe=two)
    assert not (folder / "shared.data").exists()
    table = load_file(checkpoint / WEIGHTS)[TABLE]
    np.testing.assert_allclose(computed(folder)["rows"][0], table[IDS[0]], atol=0.3)
    one = export_checkpoint(
        checkpoint, tmp_path / "one", recipe=recipe(default=two.recipe.plain()["default"])
    )
    assert np.abs(computed(one)["logits"] - computed(folder)["logits"]).max() > 0


def test_a_tied_table_may_be_multiplied_at_another_level(tmp_path):
    checkpoint = random_checkpoint(tmp_path / "checkpoint")
    levels = recipe(default="int4", head={"accuracy_level": 1})
    folder = export_checkpoint(checkpoint, tmp_path / "out", recipe=levels)
    assert (folder / "shared.data").is_file()


def test_each_weight_is_quantized_once_and_only_when_it_is_written(tmp_path, monkeypatch):
    rows = []

    def counting(tile, form):
        rows.append(len(tile))
        return rtn(tile, form)

    monkeypatch.setattr(sources, "QUANTIZERS", {"rtn": counting, "hqq": counting})
    checkpoint = random_checkpoint(tmp_path / "checkpoint")
    precision = RecipePrecision("test", recipe(default="int4").recipe)
    list(Qwen3VLExporter(Checkpoint(checkpoint), precision).graphs())
    assert rows == []
    export_checkpoint(checkpoint, tmp_path / "out", precision="int4")
    # The vision encoder's have no blocks.
    matrices = {
        name: weight
        for name, weight in load_file(checkpoint / WEIGHTS).items()
        if weight.ndim > 1 and ".visual." not in name
    }
    assert sum(rows) == sum(map(len, matrices.values()))


def test_norms_and_biases_stay_float(tmp_path):
    checkpoint = random_checkpoint(tmp_path / "checkpoint")
    folder = export_checkpoint(checkpoint, tmp_path / "out", precision="int4")
    original, held = load_file(checkpoint / WEIGHTS), stored_weights(folder)
    for name, weight in original.items():
        if weight.ndim == 1:
            np.testing.assert_array_equal(held[name](), weight, err_msg=name)
    kinds = Counter(
        node.op_type
        for name in ("vision_encoder", "embeddings", "decoder")
        for node in onnx.load(folder / f"{name}.onnx", load_external_data=False).graph.node
    )
    assert kinds["GatherBlockQuantized"] == 1
    # One rotation for each product of the vision encoder, and no product of floats.
    assert kinds["MatMul"] == kinds[ROWS] > 0
    assert kinds["FusedMatMul"] == 0


@pytest.mark.parametrize(("precision", "dtype"), [("fp32", np.float32), ("fp16", np.float16)])
def test_floats_are_found_as_the_checkpoint_has_them(tmp_path, precision, dtype):
    checkpoint = random_checkpoint(tmp_path / "checkpoint")
    folder = export_checkpoint(checkpoint, tmp_path / "out", precision=precision)
    original, held = load_file(checkpoint / WEIGHTS), stored_weights(folder)
    assert set(held) == set(original)
    for name, weight in original.items():
        rounded = weight.astype(dtype).astype(np.float32)
        np.testing.assert_array_equal(held[name]().reshape(weight.shape), rounded, err_msg=name)


class Given:
    """Blocks of one weight that somebody made: all zeros, but for the first row."""

    format = BlockFormat(4, 32, symmetric=True)
    method = "by hand"

    def pieces(self):
        codes = np.full((96, 2, 32), 8, np.uint8)
        codes[0] = 9
        yield Blocks(self.format, 64, codes, np.ones((96, 2), np.float32))


def test_blocks_that_are_given_are_stored_as_they_are(tmp_path):
    checkpoint = random_checkpoint(tmp_path / "checkpoint")
    stored = RecipePrecision("test", recipe(default="int8").recipe, given={TABLE: Given()})
    graphs = dict(Qwen3VLExporter(Checkpoint(checkpoint), stored).graphs())
    GraphFiles(graphs).write(tmp_path)
    found = computed(tmp_path)["rows"]
    assert (found[0, 0] == 1).all()
    assert not found[0, 1:].any()


def test_weights_of_one_format_that_read_the_same_are_one_product(tmp_path):
    """Of attention, the queries have larger blocks; of the MLP, gate and up are alike."""
    checkpoint = random_checkpoint(tmp_path / "checkpoint")
    mixed = recipe(default="int4", weights={"*.q_proj.weight": {"block": 64}})
    folder = export_checkpoint(checkpoint, tmp_path / "out", recipe=mixed)
    products = [
        re.findall(r"(\w+)_proj", node.input[1])
        for node in onnx.load(folder / "decoder.onnx").graph.node
        if node.op_type == "MatMulNBits" and ".layers.0." in node.input[1]
    ]
    assert sorted(products) == [["down"], ["gate", "up"], ["k", "v"], ["o"], ["q"]]
    apart = difference(computed(folder), of_stored_weights(checkpoint, folder, tmp_path))
    assert max(apart.values()) < RecipePrecision("", mixed.recipe).tolerance

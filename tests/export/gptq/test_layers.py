"""A decoder layer by layer: the same numbers, and no more than one layer's weights at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from weakref import ref

import numpy as np
import pytest

from triptych.cli.calibration import calibration_requests
from triptych.core.components.catalog import Catalog
from triptych.core.config.load import load_spec
from triptych.export import export_checkpoint
from triptych.export.checkpoint import Checkpoint
from triptych.export.gptq import MeasuringPrecision, calibrate, calibrated, decoder_inputs, layers
from triptych.export.precision.blocks import BlockFormat, Blocks
from triptych.export.precision.quantizers import rtn
from triptych.export.precision.recipe import Recipe
from triptych.export.qwen3_vl.exporter import Qwen3VLExporter
from triptych.export.verification.tapped import TappedPipeline

CHECKPOINT = Path(__file__).parents[3] / "checkpoints" / "sketch"
TABLE = "model.language_model.embed_tokens.weight"
LAYERS, KV, HEAD = 6, 2, 32
# One with a picture, whose features DeepStack adds to the first layers, and one without.
SCENES = [next(s for s in calibration_requests(None) if bool(s.images) == has) for has in (1, 0)]


@pytest.fixture(scope="module")
def exact(tmp_path_factory):
    return export_checkpoint(CHECKPOINT, tmp_path_factory.mktemp("exact") / "out")


@pytest.fixture(scope="module")
def prompts(exact):
    return list(decoder_inputs(exact, SCENES, catalog=Catalog()))


@pytest.fixture
def measured():
    """The decoder of sketch with the weights of its layers as inputs, and what tells of these."""
    precision = MeasuringPrecision("test", Recipe(default={"precision": "int4", "method": "gptq"}))
    graphs = dict(Qwen3VLExporter(Checkpoint(CHECKPOINT), precision).graphs())
    return graphs["decoder.onnx"], precision.linears


@pytest.mark.parametrize("index", range(len(SCENES)))
def test_layers_one_after_the_other_compute_what_the_decoder_does(
    index, exact, prompts, measured, tmp_path
):
    decoder, linears = measured
    prompt = prompts[index]
    tokens = prompt["inputs_embeds"].shape[1]
    values = dict(prompt) | {"logit_index": np.arange(tokens)[None]}
    values |= {name: linear.weight.read().astype(np.float32) for name, linear in linears.items()}
    for layer in range(LAYERS):
        for part in ("key", "value"):
            values[f"past_key_values.{layer}.{part}"] = np.zeros((1, KV, 0, HEAD), np.float32)
    cut = list(layers(decoder))
    assert len(cut) == 1 + LAYERS
    for layer in cut:
        # The last one's is the normed residual, which only the head reads.
        names = [value.name for value in layer.makes or layer.nodes[-1].outputs[:1]]
        session = layer.session(tmp_path, values, layer.makes or layer.nodes[-1].outputs[:1])
        fed = {port.name: values[port.name] for port in session.get_inputs()}
        values |= dict(zip(names, session.run(names, fed), strict=True))
    table = Checkpoint(CHECKPOINT).weight(TABLE).read().astype(np.float32)
    expected = logits(exact, SCENES[index])
    found = values[names[0]][0] @ table.T
    assert np.abs(found - expected).max() < 1e-4 * np.abs(expected).max()


def test_no_two_layers_have_their_weights_as_floats_at_a_time(prompts, measured, tmp_path):
    decoder, linears = measured
    alive: dict[str, ref[np.ndarray]] = {}
    orders: list[str] = []

    def watched(name: str, read: Callable[[], np.ndarray]) -> Callable[[], np.ndarray]:
        def reading() -> np.ndarray:
            values = np.array(read(), np.float32)
            others = {other for other, kept in alive.items() if kept() is not None}
            assert {layer_of(other) for other in others} <= {layer_of(name)}
            alive[name] = ref(values)
            orders.append(name)
            return values

        return reading

    seen = {
        name: replace(linear, weight=replace(linear.weight, read=watched(name, linear.weight.read)))
        for name, linear in linears.items()
    }
    found = calibrated(decoder, seen, prompts, tmp_path)
    # Each is read once, and nothing stays on the disk.
    assert sorted(orders) == sorted(found) == sorted(linears)
    assert not list(tmp_path.iterdir())
    name = "model.language_model.layers.3.mlp.down_proj.weight"
    rows, columns = linears[name].weight.shape
    held = found[name].codes.nbytes + found[name].scales.nbytes + found[name].zeros.nbytes
    assert held < rows * columns * 0.7


def layer_of(name):
    return name.split(".layers.")[1].split(".")[0]


def logits(folder, request):
    pipeline = TappedPipeline(load_spec(folder, catalog=Catalog()))
    prompt = pipeline.processor.prompt(request)
    sequence = pipeline.sequence()
    sequence.append(prompt.tokens, prompt.media)
    found = pipeline.forward(sequence, rows=len(sequence)).logits
    sequence.close()
    return found


def test_a_layer_is_calibrated_on_what_the_quantized_layers_before_it_give(
    prompts, measured, tmp_path, monkeypatch
):
    """Where all blocks stand for zero, a layer reads the embeddings as its own norm has them."""
    decoder, linears = measured
    hessians = []

    def nothing(rows: np.ndarray, hessian: np.ndarray, form: BlockFormat) -> Blocks:
        hessians.append(hessian)
        return rtn(np.zeros_like(rows), form)

    monkeypatch.setattr(calibrate, "gptq", nothing)
    # Texts only: DeepStack would add to the residual.
    calibrated(decoder, linears, [prompts[1], prompts[1]], tmp_path)
    embeds = prompts[1]["inputs_embeds"][0]
    name = f"model.language_model.layers.{LAYERS - 1}.input_layernorm.weight"
    scale = Checkpoint(CHECKPOINT).weight(name).read().astype(np.float32)
    x = embeds / np.sqrt((embeds**2).mean(axis=-1, keepdims=True) + 1e-6) * scale
    queries = f"model.language_model.layers.{LAYERS - 1}.self_attn.q_proj.weight"
    found = hessians[list(linears).index(queries)]
    np.testing.assert_allclose(found, 4 * x.T @ x, rtol=1e-3, atol=1e-3 * np.abs(found).max())

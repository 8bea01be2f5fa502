"""A cache of fewer bits, on the built-in model: what it holds, and that answers stay."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from transformers import AutoTokenizer, Qwen3VLForConditionalGeneration

import triptych
from triptych.cli.calibration import calibration_requests
from triptych.core.errors import InputError
from triptych.core.graph import Graph
from triptych.export import export_checkpoint
from triptych.export.kv_cache import CacheFormError, cache_form, cache_ranges, store_cache

CHECKPOINT = Path(__file__).parents[3] / "checkpoints" / "sketch"
SKETCH = Path(triptych.__file__).parent / "models" / "sketch" / "pipeline"
TEXT = "What is the capital of France?"
LAYERS, KV, HEAD = 6, 2, 32


@pytest.fixture(scope="module")
def ranges():
    return cache_ranges(SKETCH, calibration_requests(None))


@pytest.fixture(scope="module")
def stored(tmp_path_factory, ranges):
    """Makes a copy of sketch whose cache has a form."""

    def make(name, **more):
        folder = tmp_path_factory.mktemp(name) / "sketch"
        shutil.copytree(SKETCH, folder)
        store_cache(folder / "decoder.onnx", cache_form(name), ranges, **more)
        return folder

    return make


def scenes(number):
    return [r for r in calibration_requests(None) if r.images][:number]


def test_ranges_are_those_of_the_keys_and_values_that_transformers_computes():
    found = cache_ranges(SKETCH, [triptych.Request(text=TEXT)])
    tokenizer = AutoTokenizer.from_pretrained(CHECKPOINT)
    ids = tokenizer.apply_chat_template(
        [{"role": "user", "content": TEXT}], add_generation_prompt=True, return_dict=False
    )
    model = Qwen3VLForConditionalGeneration.from_pretrained(CHECKPOINT, dtype=torch.float32)
    with torch.no_grad():
        cache = model(input_ids=torch.tensor([ids]), use_cache=True).past_key_values
    assert len(found) == 2 * LAYERS
    for index, layer in enumerate(cache.layers):
        for part, values in ("key", layer.keys), ("value", layer.values):
            expected = values[0].abs().amax(dim=1).numpy()
            got = found[f"past_key_values.{index}.{part}"]
            np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("name", "dtype", "width"),
    [("fp16", "float16", 32), ("int8", "int8", 32), ("int4", "uint8", 16)],
)
def test_the_cache_has_the_dtype_and_the_size_that_were_asked_for(stored, name, dtype, width):
    graph = Graph(stored(name) / "decoder.onnx")
    pasts = [port for port in graph.inputs if port.name.startswith("past")]
    assert len(pasts) == 2 * LAYERS
    assert {(port.dtype, port.axes) for port in pasts} == {(dtype, ("B", KV, "max_len", width))}


@pytest.mark.parametrize(("name", "bound"), [("fp16", 2e-3), ("int8", 0.05), ("int4", 0.5)])
def test_logits_stay_near_those_of_a_cache_of_floats(stored, name, bound):
    exact, changed = triptych.load(SKETCH), triptych.load(stored(name))
    for request in scenes(4):
        completion = exact.generate(request, no_sample=True).text
        given = [np.array(pipe.score(request, completion).logprobs) for pipe in (exact, changed)]
        assert np.abs(given[0] - given[1]).max() < bound


def test_eight_bits_give_the_same_answers_alone_in_company_and_over_turns(stored):
    exact, changed = triptych.load(SKETCH), triptych.load(stored("int8"))
    requests = scenes(12)
    wanted = [reply.text for reply in exact.generate_batch(requests, no_sample=True)]
    assert [reply.text for reply in changed.generate_batch(requests, no_sample=True)] == wanted
    chats = [pipe.chat() for pipe in (exact, changed)]
    for question in (TEXT, "Who are you?", "What is the capital of Peru?"):
        said = [chat.send(question, no_sample=True).text for chat in chats]
        assert said[0] == said[1]


def test_scales_are_weights_of_the_graph_one_a_channel_or_one_in_all(stored, ranges):
    for grain, size in ("channel", KV * HEAD), ("tensor", 1):
        graph = onnx.load(stored("int8", grain=grain) / "decoder.onnx").graph
        scales = {w.name: onnx.numpy_helper.to_array(w) for w in graph.initializer}
        found = scales["past_key_values.3.value.scale"]
        assert found.shape == (size,)
        largest = ranges["past_key_values.3.value"].reshape(-1)
        expected = largest if grain == "channel" else largest.max()
        np.testing.assert_allclose(found, expected * 1.05 / 127, rtol=1e-6)


def test_an_export_measures_its_own_cache(tmp_path):
    out = export_checkpoint(
        CHECKPOINT, tmp_path / "out", kv_cache="int8", calibration=calibration_requests(None)
    )
    assert "int8" in {port.dtype for port in Graph(out / "decoder.onnx").inputs}
    assert triptych.load(out).generate(TEXT, no_sample=True).text == "Paris"


def test_what_cannot_be_is_refused_and_nothing_is_written(tmp_path, stored):
    with pytest.raises(CacheFormError, match=r"No form 'int2' of a cache; there is fp32, fp16, in"):
        export_checkpoint(CHECKPOINT, tmp_path / "out", kv_cache="int2")
    with pytest.raises(CacheFormError, match="no ranges of a cache were found"):
        export_checkpoint(CHECKPOINT, tmp_path / "out", kv_cache="int8")
    assert not any(tmp_path.iterdir())
    with pytest.raises(CacheFormError, match=r"no GroupQueryAttention in it"):
        store_cache(SKETCH / "embeddings.onnx", cache_form("fp16"))
    with pytest.raises(CacheFormError, match="is not a cache of float32"):
        store_cache(stored("fp16") / "decoder.onnx", cache_form("int8"), {})


def test_a_folder_to_measure_on_gives_its_pictures_and_texts(tmp_path):
    from PIL import Image

    Image.new("RGB", (64, 64), "red").save(tmp_path / "a.png")
    (tmp_path / "b.txt").write_text("Hello")
    (tmp_path / "c.csv").write_text("1,2")
    asked = list(calibration_requests(tmp_path))
    assert [(r.text, [path.name for path in r.images]) for r in asked] == [
        ("Describe this image.", ["a.png"]),
        ("Hello", []),
    ]
    with pytest.raises(InputError, match="has no pictures"):
        list(calibration_requests(Path(__file__).parent))
    with pytest.raises(InputError, match="is no folder"):
        list(calibration_requests(tmp_path / "none"))

"""A cache of fewer bits, on the built-in model: what it holds, and that answers stay."""

from __future__ import annotations

import json
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
from triptych.core.graphs.graph import Graph
from triptych.core.stages import Runtime
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
            sizes = values[0].abs()
            if part == "key":
                # Positions turn a head's first half with its second: as long as the pair is.
                pairs = torch.hypot(*sizes.chunk(2, dim=-1))
                sizes = torch.cat([pairs, pairs], dim=-1)
            expected = sizes.amax(dim=1).numpy()
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


def test_over_float16_only_new_tokens_are_cast_and_never_the_past(stored):
    graph = onnx.load(stored("fp16") / "decoder.onnx", load_external_data=False).graph
    makers = {name: node for node in graph.node for name in node.output}
    nodes = [node for node in graph.node if node.op_type == "GroupQueryAttention"]
    assert len(nodes) == LAYERS
    pasts = {port.name for port in graph.input if port.name.startswith("past")}
    presents = {port.name for port in graph.output if port.name.startswith("present")}
    for node in nodes:
        for name in node.input[:3]:
            assert makers[name].op_type == "Cast"
            assert makers[name].attribute[0].i == onnx.TensorProto.FLOAT16
        assert set(node.input[3:5]) <= pasts
        assert set(node.output[1:3]) <= presents
        (reader,) = [other for other in graph.node if node.output[0] in other.input]
        assert (reader.op_type, reader.attribute[0].i) == ("Cast", onnx.TensorProto.FLOAT)
    readers = [node.op_type for node in graph.node if pasts & set(node.input)]
    assert readers == ["GroupQueryAttention"] * LAYERS


def test_over_float16_tokens_are_the_same_in_chunks_in_company_and_from_drafts(stored):
    folder = stored("fp16")
    plain = triptych.load(folder)
    requests = scenes(6)
    wanted = [plain.generate(request, no_sample=True).tokens for request in requests]
    together = plain.generate_batch(requests, no_sample=True)
    assert [reply.tokens for reply in together] == wanted
    for overrides in {"session.chunk": 16}, {"strategy": {"prompt_lookup": {"tokens": 4}}}:
        other = triptych.load(folder, overrides=overrides)
        assert [other.generate(one, no_sample=True).tokens for one in requests] == wanted


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
        np.testing.assert_allclose(found, expected * 1.5 / 127, rtol=1e-6)


def past_dtypes(folder):
    inputs = Graph(folder / "decoder.onnx").inputs
    return {port.dtype for port in inputs if port.name.startswith("past")}


def test_an_export_measures_its_own_cache_the_same_each_time(tmp_path):
    outs = [
        export_checkpoint(CHECKPOINT, tmp_path / name, kv_cache="int8") for name in ("one", "two")
    ]
    assert past_dtypes(outs[0]) == {"int8"}
    assert triptych.load(outs[0]).generate(TEXT, no_sample=True).text == "Paris"
    graphs = [(out / "decoder.onnx").read_bytes() for out in outs]
    assert graphs[0] == graphs[1]


def test_weights_of_whole_numbers_come_with_keys_and_values_in_eight_bits(tmp_path):
    recipe = tmp_path / "head.yaml"
    recipe.write_text("format: 1\nhead: int8\n")
    floats = tmp_path / "floats.yaml"
    floats.write_text("format: 1\ndefault: {precision: int8, accuracy_level: 1}\n")
    bare = tmp_path / "bare"
    shutil.copytree(CHECKPOINT, bare)
    (bare / "tokenizer.json").unlink()
    cases = {
        "int8": (CHECKPOINT, {"precision": "int4"}),
        "float32, asked for": (CHECKPOINT, {"precision": "int4", "kv_cache": "fp32"}),
        "float32, for weights of floats": (CHECKPOINT, {"recipe": recipe}),
        "float32, for products of floats": (CHECKPOINT, {"recipe": floats}),
        "float32, for a model without words": (bare, {"precision": "int4"}),
    }
    for case, (checkpoint, asked) in cases.items():
        out = export_checkpoint(checkpoint, tmp_path / "out", **asked)
        dtype = case.split(",", maxsplit=1)[0]
        assert past_dtypes(out) == {dtype}, case
        recorded = json.loads((out / "export.json").read_text())["kv_cache"]
        assert recorded == {"int8": "int8", "float32": "fp32"}[dtype]


def attended(folder, slices, *, seed=0, last=False):
    """Logits f32 [tokens, V] and caches of random embeddings, forwarded in slices of one buffer.

    last: only the logits of each slice's last token are wanted.
    """
    graph = Graph(folder / "decoder.onnx")
    graph.load(Runtime())
    total, random = sum(slices), np.random.default_rng(seed)
    embeds = random.standard_normal((1, total, 192), dtype=np.float32)
    pasts = {
        port.name: np.zeros((1, KV, total + 8, HEAD), port.dtype)
        for port in graph.inputs
        if port.name.startswith("past")
    }
    presents = {name: name.replace("past_key_values", "present") for name in pasts}
    rows, start = [], 0
    for count in slices:
        end = start + count
        feeds = pasts | {
            "inputs_embeds": embeds[:, start:end],
            "attention_mask": np.ones((1, end), np.int64),
            "position_ids": np.broadcast_to(np.arange(start, end), (3, 1, count)),
            "deepstack_embeds": np.zeros((2, 1, 1, 192), np.float32),
            "logit_index": np.arange(count - 1 if last else 0, count)[None],
        }
        rows.append(np.array(graph.run_in_place(feeds, presents, ["logits"])["logits"][0]))
        start = end
    return np.concatenate(rows), pasts


@pytest.mark.parametrize("slices", [(100,), (40, 60), (64, 1, 35), (33, 33, 34)])
def test_a_prompt_reads_and_writes_the_cache_that_single_tokens_do(stored, slices):
    folder = stored("int8")
    logits, caches = attended(folder, [1] * 100)
    found, same = attended(folder, slices)
    exact, _ = attended(SKETCH, [100])
    # The first layer's rows do not depend on attention; later ones by what rounding changes.
    for part in "key", "value":
        name = f"past_key_values.0.{part}"
        np.testing.assert_array_equal(same[name], caches[name])
        assert not same[name][:, :, 100:].any()
        last = f"past_key_values.{LAYERS - 1}.{part}"
        assert np.abs(same[last].astype(int) - caches[last]).max() <= 8
    largest = np.abs(exact).max()
    assert np.abs(found - logits).max() / largest < 0.03
    # In float32, so no further from the exact ones than single tokens are.
    assert np.abs(found - exact).max() <= np.abs(logits - exact).max() * 1.2


def test_where_a_prompt_is_cut_changes_nothing_but_the_last_bits(stored):
    folder = stored("int8")
    whole, _ = attended(folder, [100])
    for slices in (50, 50), (36, 64), (32, 32, 36):
        found, _ = attended(folder, slices)
        assert np.abs(found - whole).max() / np.abs(whole).max() < 1e-3


def test_single_tokens_have_a_sink_without_weight_which_only_chooses_the_kernel(stored, tmp_path):
    folder, bare = stored("int8"), tmp_path / "bare"
    shutil.copytree(folder, bare)
    model = onnx.load(folder / "decoder.onnx")
    values = {one.name: onnx.numpy_helper.to_array(one) for one in model.graph.initializer}
    steps = [
        inner
        for node in model.graph.node
        for attribute in node.attribute
        if attribute.name == "else_branch"
        for inner in attribute.g.node
    ]
    assert len(steps) == LAYERS
    for node in steps:
        assert (values[node.input[11]] == -np.inf).all()
        node.input[11] = ""
    onnx.save(model, bare / "decoder.onnx")
    found, plain = (attended(one, [1] * 100)[0] for one in (folder, bare))
    assert np.abs(found - plain).max() / np.abs(plain).max() < 1e-4


@pytest.mark.parametrize("tail", [2, 10, 31])
def test_the_few_tokens_that_end_a_prompt_are_computed_as_many_are(stored, tail):
    folder = stored("int8")
    whole, _ = attended(folder, [100], last=True)
    found, _ = attended(folder, [100 - tail, tail], last=True)
    # Closer than the kernel of single tokens comes.
    assert np.abs(found[-1] - whole[-1]).max() / np.abs(whole).max() < 3e-7
    drafted, _ = attended(folder, [100 - tail, tail])
    single, _ = attended(folder, [100 - tail, *[1] * tail])
    np.testing.assert_array_equal(drafted[-tail:], single[-tail:])


def test_what_cannot_be_is_refused_and_nothing_is_written(tmp_path, stored):
    with pytest.raises(CacheFormError, match=r"No form 'int2' of a cache; there is fp32, fp16, in"):
        export_checkpoint(CHECKPOINT, tmp_path / "out", kv_cache="int2")
    with pytest.raises(CacheFormError, match="no ranges of a cache were found"):
        cache_ranges(SKETCH, [])
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

"""Graphs are known by their ports; what does not fit is said, with what would."""

import json
import shutil

import pytest
from onnx import TensorProto, helper, save

import triptych
from tests.layouts import rewired
from tests.layouts.rewired import BOOL, FLOAT, HALF, INT, write_json
from triptych import ConfigError
from triptych.core.layouts.recognise import recognise

PASTS = {
    f"{name}.{part}": (FLOAT, ["b", 2, length, 8])
    for part in ("key", "value")
    for name, length in (("past_key_values.0", "past"), ("present.0", "total"))
}
READ_PASTS = {name: port for name, port in PASTS.items() if name.startswith("past")}
PRESENTS = {name: port for name, port in PASTS.items() if name.startswith("present")}
EMBEDS = {"inputs_embeds": (FLOAT, ["b", "s", 16])}
MASK = {"attention_mask": (INT, ["b", "t"])}
LOGITS = {"logits": (FLOAT, ["b", "s", 50])}
IDS = {"input_ids": (INT, ["b", "s"])}
PIXELS = {"pixel_values": (FLOAT, ["p", 12]), "image_grid_thw": (INT, ["i", 3])}
FEATURES = {"image_features": (FLOAT, ["n", 16])}


def graph(path, inputs, outputs):
    """An ONNX file that declares these ports and computes nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    ports = [
        [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in one.items()]
        for one in (inputs, outputs)
    ]
    save(helper.make_model(helper.make_graph([], "g", *ports)), path)


def vision(path, reads=None, writes=None):
    graph(path, PIXELS if reads is None else reads, FEATURES | (writes or {}))


def embeddings(path, more=None, writes=None):
    graph(path, IDS | (more or {}), EMBEDS | (writes or {}))


def decoder(path, reads=None, writes=None, first=EMBEDS):
    graph(path, first | MASK | READ_PASTS | (reads or {}), LOGITS | PRESENTS | (writes or {}))


def stages(folder, **more):
    """The lines of the stages."""
    text = recognise(folder, **more).text
    return text[text.index("stages:\n") : text.index("sampler:")].splitlines()[1:]


def names(folder):
    return [line[4:] for line in stages(folder) if line.startswith("  - ")]


def message(folder, **more):
    with pytest.raises(ConfigError) as error:
        recognise(folder, **more)
    return str(error.value).removeprefix(f"{folder}: ")


# Which list of stages


def test_the_host_merges_unless_the_embedding_graph_takes_the_features(tmp_path):
    vision(tmp_path / "see.onnx")
    embeddings(tmp_path / "embed.onnx")
    decoder(tmp_path / "speak.onnx")
    plain = ["vision_encoder: see.onnx", "embeddings: embed.onnx", "merge: false"]
    last = "decoder: {graph: speak.onnx, cache_form: growing}"
    assert names(tmp_path) == [*plain, last]
    embeddings(tmp_path / "embed.onnx", FEATURES)
    assert names(tmp_path) == [*plain[:2], last]


@pytest.mark.parametrize(
    ("shape", "expected"), [(["b", "s"], "positions"), ([3, "b", "s"], "mrope")]
)
def test_positions_are_counted_or_have_three_axes(tmp_path, shape, expected):
    decoder(tmp_path / "model.onnx", {"position_ids": (INT, shape)}, first=IDS)
    assert names(tmp_path)[0] == expected


def test_the_merge_size_is_the_config_s(tmp_path):
    decoder(tmp_path / "model.onnx", {"position_ids": (INT, [3, "b", "s"])}, first=IDS)
    write_json(tmp_path / "config.json", {"vision_config": {"spatial_merge_size": 4}})
    assert names(tmp_path)[0] == "mrope: 4"


LAYERS = {"stacked": {"deepstack_features": (FLOAT, [3, "n", 16])}} | {
    "indexed": {f"deepstack_features_{layer}": (FLOAT, ["n", 16]) for layer in range(3)}
}
SPREAD = {"stacked": {"deepstack_embeds": (FLOAT, [3, "b", "s", 16])}} | {
    "indexed": {f"deepstack_visual_embeds.{layer}": (FLOAT, ["b", "s", 16]) for layer in range(3)}
}


@pytest.mark.parametrize(("form", "merge"), [("stacked", "merge"), ("indexed", "merge: 3")])
def test_deepstack_goes_through_the_host_s_merge_in_the_form_of_the_graphs(tmp_path, form, merge):
    vision(tmp_path / "vision.onnx", writes=LAYERS[form])
    embeddings(tmp_path / "embed.onnx")
    decoder(tmp_path / "decoder.onnx", SPREAD[form])
    assert merge in names(tmp_path)
    lines = "\n".join(stages(tmp_path))
    assert ("deepstack_visual_embeds.2: {port: deepstack_embeds_2" in lines) == (form == "indexed")
    assert not recognise(tmp_path).warnings


def test_a_graph_that_fuses_the_image_alone_leaves_deepstack_to_the_host(tmp_path):
    vision(tmp_path / "vision.onnx", writes=LAYERS["stacked"])
    embeddings(tmp_path / "embed.onnx", FEATURES)
    decoder(tmp_path / "decoder.onnx", SPREAD["stacked"])
    assert names(tmp_path)[1:3] == ["embeddings: embed.onnx", "merge"]


def test_graphs_of_two_exports_are_refused(tmp_path):
    vision(tmp_path / "vision.onnx", writes=LAYERS["stacked"])
    embeddings(tmp_path / "embed.onnx")
    decoder(tmp_path / "decoder.onnx", SPREAD["indexed"])
    assert "vision.onnx writes deepstack_features, and decoder.onnx reads" in message(tmp_path)


def test_deepstack_that_nobody_takes_is_ignored_with_a_warning(tmp_path):
    vision(tmp_path / "vision.onnx", writes=LAYERS["stacked"])
    embeddings(tmp_path / "embed.onnx")
    decoder(tmp_path / "decoder.onnx")
    write_json(tmp_path / "config.json", {"model_type": "qwen3_vl"})
    assert "    ignore: [deepstack_features]" in stages(tmp_path)
    lost, differs = recognise(tmp_path).warnings
    assert lost == "vision.onnx writes 'deepstack_features', which nothing here reads"
    assert "leaves DeepStack out" in differs
    text = recognise(tmp_path).text
    assert "\n# Note: this export of the model leaves DeepStack out" in text


def test_a_model_without_deepstack_of_its_own_is_loaded_without_a_warning(tmp_path):
    vision(tmp_path / "vision.onnx")
    embeddings(tmp_path / "embed.onnx")
    decoder(tmp_path / "decoder.onnx")
    write_json(tmp_path / "config.json", {"model_type": "qwen2_vl"})
    assert not recognise(tmp_path).warnings


def test_floats_are_those_of_the_decoder_and_integers_are_int64(tmp_path):
    half = {"inputs_embeds": (HALF, ["b", "s", 16])}
    decoder(
        tmp_path / "decoder.onnx", {"position_ids": (TensorProto.INT32, ["b", "s"])}, first=half
    )
    embeddings(tmp_path / "embed.onnx", FEATURES)
    vision(tmp_path / "vision.onnx", PIXELS | {"pixel_values": (HALF, ["p", 12])})
    lines = "\n".join(stages(tmp_path))
    assert "image_features: {axes: [N, 16], dtype: float16}" in lines
    assert "inputs_embeds: {axes: [B, S, 16], dtype: float16}" in lines
    assert "pixel_values: {axes: [patches, 12], dtype: float32}" in lines
    assert "position_ids: {axes: [B, S], dtype: int64}" in lines


def test_a_config_fills_in_the_sizes_that_the_past_tensors_leave_open(tmp_path):
    open_ = {name: (FLOAT, ["b", "heads", "n", "d"]) for name in READ_PASTS}
    decoder(tmp_path / "model.onnx", open_, first=IDS)
    text = {"num_key_value_heads": 2, "hidden_size": 64, "num_attention_heads": 8}
    write_json(tmp_path / "config.json", {"text_config": text})
    assert "kv_heads: 2, head_size: 8" in names(tmp_path)[-1]


def test_a_port_that_two_neighbours_know_passes_between_them(tmp_path):
    own = {"per_layer_inputs": (FLOAT, ["b", "s", 7, "K"])}
    embeddings(tmp_path / "embed.onnx", writes=own)
    decoder(tmp_path / "decoder.onnx", own)
    lines = stages(tmp_path)
    assert lines.count("      per_layer_inputs: {axes: [B, S, 7, per_layer_inputs_K]}") == 2


def test_the_chain_is_what_the_folder_asks_for(tmp_path):
    decoder(tmp_path / "model.onnx", first=IDS)
    assert "  - temperature: 0.7\n" in recognise(tmp_path).text
    write_json(tmp_path / "generation_config.json", {"do_sample": True, "top_k": 20})
    assert "sampler:\n  - top_k: 20\n  - draw\n" in recognise(tmp_path).text


# Which of several files


def suffixed(folder, *suffixes, part=decoder, stem="decoder_model_merged"):
    for suffix in suffixes:
        part(folder / "onnx" / f"{stem}{suffix}.onnx")


def test_full_precision_is_taken_unless_asked_otherwise_part_by_part(tmp_path):
    suffixed(tmp_path, "_q4", "_fp16", "")
    suffixed(tmp_path, "_q4", "_fp16", part=embeddings, stem="embed_tokens")
    lines = "\n".join(stages(tmp_path))
    assert "decoder: {graph: onnx/decoder_model_merged.onnx," in lines
    assert "embeddings: onnx/embed_tokens_fp16.onnx" in lines
    assert "# There are also onnx/embed_tokens_q4.onnx." in lines
    chosen = "\n".join(stages(tmp_path, suffixes={"decoder": "q4"}))
    assert "onnx/decoder_model_merged_q4.onnx, " in chosen
    assert "onnx/embed_tokens_fp16.onnx" in chosen
    both = "\n".join(stages(tmp_path, suffixes={"": "_q4", "embed_tokens": "fp16"}))
    assert "onnx/decoder_model_merged_q4.onnx, " in both
    assert "onnx/embed_tokens_fp16.onnx" in both


def test_q8_is_what_files_call_quantized(tmp_path):
    for suffix in ("", "_quantized"):
        decoder(tmp_path / f"onnx/model{suffix}.onnx", first=IDS)
    lines = "\n".join(stages(tmp_path, suffixes={"decoder": "q8"}))
    assert "graph: onnx/model_quantized.onnx" in lines


def test_a_suffix_that_is_not_there_or_not_one_is_told_what_is(tmp_path):
    suffixed(tmp_path, "", "_q4")
    suffixed(tmp_path, "", part=embeddings, stem="embed_tokens")
    assert message(tmp_path, suffixes={"decoder": "fp16"}) == (
        "has no fp16 of the decoder\n  there is fp32, q4"
    )
    assert "'q5' is no suffix" in message(tmp_path, suffixes={"decoder": "q5"})
    assert "there is no part 'head'" in message(tmp_path, suffixes={"head": "q4"})
    assert "there is no vision_encoder here" in message(tmp_path, suffixes={"vision_encoder": "q4"})


def test_a_merged_decoder_is_preferred_to_the_halves_of_it(tmp_path):
    graph(tmp_path / "onnx/decoder_model.onnx", EMBEDS | MASK, LOGITS | PRESENTS)
    decoder(tmp_path / "onnx/decoder_with_past_model.onnx")
    decoder(tmp_path / "onnx/decoder_model_merged.onnx", {"use_cache_branch": (BOOL, [1])})
    embeddings(tmp_path / "onnx/embed_tokens.onnx")
    assert "decoder_model_merged.onnx" in names(tmp_path)[-1]


def test_two_that_can_be_the_same_part_are_named(tmp_path):
    decoder(tmp_path / "left.onnx", first=IDS)
    decoder(tmp_path / "right.onnx", first=IDS)
    assert message(tmp_path).startswith(
        "has 2 graphs that can be the decoder: left.onnx and right.onnx\n  move aside"
    )


def test_what_is_of_no_use_is_named(tmp_path):
    decoder(tmp_path / "model.onnx", first=IDS)
    vision(tmp_path / "vision.onnx")
    graph(tmp_path / "audio.onnx", {"input_features": (FLOAT, ["n"])}, {"x": (FLOAT, ["n"])})
    assert recognise(tmp_path).warnings == ("not used: audio.onnx, vision.onnx",)


# What a newcomer does


def test_a_folder_without_graphs_is_told_what_it_may_be(tmp_path):
    assert message(tmp_path).startswith("holds no graphs (*.onnx), nor do its subfolders\n  name")
    (tmp_path / "pytorch_model.bin").touch()
    assert "PyTorch's own format" in message(tmp_path)
    (tmp_path / "model.safetensors").touch()
    assert message(tmp_path).endswith(f"make a pipeline of it: triptych export {tmp_path} OUT")
    assert message(tmp_path / "nowhere") == "there is no such folder"


def test_a_folder_without_a_decoder_lists_what_it_has(tmp_path):
    embeddings(tmp_path / "embed.onnx")
    assert message(tmp_path) == (
        "has no decoder: no graph here writes 'logits'\n  known: embed.onnx"
    )


def test_embeddings_that_were_left_out_are_missed(tmp_path):
    decoder(tmp_path / "model.onnx")
    assert "model.onnx reads 'inputs_embeds', and no graph here makes them" in message(tmp_path)


def test_an_unknown_port_is_named_with_the_known_ones(tmp_path):
    embeddings(tmp_path / "embed.onnx")
    decoder(tmp_path / "model.onnx", {"cross_states": (FLOAT, ["b", "n", 16])})
    said = message(tmp_path)
    assert said.startswith("model.onnx reads cross_states float32 [b, n, 16], which nothing")
    assert "known: input_ids, inputs_embeds, attention_mask" in said


@pytest.mark.parametrize(
    ("port", "shape", "wanted"),
    [
        ("pixel_values", ["b", 3, 448, 448], "[patches, features]"),
        ("pixel_values", [1024, 12], "[patches, features]"),
        ("image_grid_thw", [4, 3], "[images, 3]"),
    ],
)
def test_a_known_port_of_another_form_is_told_the_form(tmp_path, port, shape, wanted):
    decoder(tmp_path / "model.onnx")
    embeddings(tmp_path / "embed.onnx")
    vision(tmp_path / "vision.onnx", PIXELS | {port: (FLOAT, shape)})
    assert f"vision.onnx reads {port} float32" in message(tmp_path)
    assert message(tmp_path).endswith(f"where only the axes {wanted} are supported")


def test_bfloat16_ports_are_refused(tmp_path):
    decoder(
        tmp_path / "model.onnx",
        writes={"logits": (TensorProto.BFLOAT16, ["b", "s", 50])},
        first=IDS,
    )
    assert "holds what numpy has no type for" in message(tmp_path)


def test_a_cache_cannot_grow_where_no_mask_tells_its_length(tmp_path):
    rewired.files(tmp_path, rewired.PROCESSOR_FILES)
    graph(tmp_path / "model.onnx", IDS | READ_PASTS, LOGITS | PRESENTS)
    with pytest.raises(ConfigError) as error:
        triptych.load(tmp_path)
    assert "its past tensors grow, so it must read 'attention_mask'" in str(error.value)
    assert "(as triptych import writes it):11:5: stages.decoder: " in str(error.value)


@pytest.fixture
def genai(folders, tmp_path):
    """A copy of a GenAI folder whose config may be changed."""
    folder = tmp_path / "genai"
    shutil.copytree(folders("lossy", rewired.genai), folder)

    def change(**sections):
        path = folder / "genai_config.json"
        config = json.loads(path.read_text(encoding="utf-8"))
        for name, values in sections.items():
            config["model"][name].update(values)
        write_json(path, config)
        return folder

    return change


def test_a_config_that_names_a_missing_file_is_refused(genai):
    folder = genai(decoder={"filename": "decoder.onnx"})
    with pytest.raises(ConfigError) as error:
        recognise(folder)
    assert str(error.value).startswith(f"{folder / 'genai_config.json'}: names a graph that cannot")
    assert "there is no file 'decoder.onnx'" in str(error.value)


def test_a_config_cannot_name_a_file_outside_of_its_folder(genai, tmp_path):
    decoder(tmp_path / "outside.onnx")
    with pytest.raises(ConfigError, match="lies outside of the pipeline's folder"):
        recognise(genai(decoder={"filename": "../outside.onnx"}))


def test_a_decoder_in_several_graphs_is_refused(genai):
    with pytest.raises(ConfigError, match="cuts the decoder into a pipeline"):
        recognise(genai(decoder={"pipeline": [{}]}))


def test_a_suffix_cannot_be_chosen_where_a_config_names_the_graphs(genai):
    with pytest.raises(ConfigError, match="names its graphs"):
        recognise(genai(), suffixes={"decoder": "q4"})


def test_the_config_s_names_of_ports_are_believed(genai):
    folder = genai()
    rewired.decoder(folder / "model.onnx", growing=True, logits="all", deepstack=None)
    text = (folder / "genai_config.json").read_text(encoding="utf-8")
    config = json.loads(text)
    config["model"]["decoder"]["inputs"]["position_ids"] = "where_it_is"
    write_json(folder / "genai_config.json", config)
    graph = rewired.Graph("decoder")
    assert "position_ids" in {port.name for port in graph.graph.input}
    graph.renamed("position_ids", "where_it_is", [3, "b", "s"], INT)
    graph.save(folder / "model.onnx")
    text = recognise(folder).text
    assert "where_it_is: {port: position_ids, axes: [3, B, S]}" in text


@pytest.mark.parametrize("content", ["[]", "{", "{}"])
def test_a_broken_config_is_told(tmp_path, content):
    (tmp_path / "genai_config.json").write_text(content, encoding="utf-8")
    assert message(tmp_path).startswith(f"{tmp_path / 'genai_config.json'}: ")


def test_a_pipeline_file_in_the_folder_counts_and_nothing_is_recognised(folders, tmp_path):
    folder = tmp_path / "theirs"
    shutil.copytree(folders("text", rewired.text_only), folder)
    (folder / "pipeline.yaml").write_text("format: 1\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="processor: this key must be given"):
        triptych.load(folder)

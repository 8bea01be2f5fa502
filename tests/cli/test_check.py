"""`triptych check`."""

from pathlib import Path

import pytest


def test_it_says_what_reads_and_writes_which_port(triptych, tiny_pipeline):
    done = triptych("check", tiny_pipeline)
    assert (done.code, done.err) == (0, "")
    assert done.out == (
        f"OK  {tiny_pipeline / 'pipeline.yaml'}\n"
        "  request -> processor qwen_vl -> tokens and media\n"
        "  INPUT, once on what enters a sequence:\n"
        "    vision_encoder\n"
        "      reads   pixel_values, image_grid_thw from processor\n"
        "      writes  image_features, deepstack_features\n"
        "    mrope\n"
        "      reads   visual_index, start_position from core; image_grid_thw from processor\n"
        "      writes  position_ids, next_position\n"
        "  SPAN, on each slice that is forwarded:\n"
        "    embeddings\n"
        "      reads   input_ids from core\n"
        "      writes  inputs_embeds\n"
        "    merge\n"
        "      reads   inputs_embeds from embeddings; visual_index from core; "
        "image_features, deepstack_features from vision_encoder\n"
        "      writes  inputs_embeds, deepstack_embeds\n"
        "    decoder\n"
        "      reads   inputs_embeds, deepstack_embeds from merge; "
        "attention_mask, 6 past tensors from its cache (full); position_ids from mrope; "
        "logit_index from core\n"
        "      writes  logits\n"
        "  decoder's logits -> greedy -> token\n"
        "  strategy: autoregressive; it ends with an end token, or 100 new tokens\n"
        "  several requests at once: a step is one run for up to 8 of them\n"
    )


def test_it_reads_no_weights(triptych, tiny_pipeline, monkeypatch):
    from triptych.core.graphs.graph import Graph

    def load(*_):
        raise AssertionError("a weight was read")

    monkeypatch.setattr(Graph, "load", load)
    assert triptych("check", tiny_pipeline).code == 0


def test_labels_settings_and_replacements_are_told(triptych, tiny_pipeline):
    done = triptych(
        "check", tiny_pipeline, "--set=sampler=[{temperature: 0.5}, {top_k: 7}, draw]",
        "--set=decoder.cache.window=64", "--set=stop.strings=[a, b]",
        "--replace=mrope={mrope: 2}", "--replace=embeddings={onnx: "
        "{graph: embeddings.onnx, when: span}}",
    )  # fmt: skip
    assert done.code == 0
    assert "    embeddings (onnx)\n" in done.out
    assert "from its cache (window size=64, sinks=4, slack=64)" in done.out
    assert "decoder's logits -> temperature 0.5 -> top_k 7 -> draw -> token\n" in done.out
    assert "an end token or one of 2 strings, or 100 new tokens" in done.out


def test_a_pipeline_for_text_alone(triptych, tiny_pipeline):
    done = triptych("check", tiny_pipeline, "--remove=vision_encoder", "--remove=merge")
    assert (done.code, done.err) == (0, "")
    assert "vision" not in done.out
    assert "inputs_embeds from embeddings; " in done.out
    assert "; deepstack_embeds from nobody, so a constant stands in; " in done.out


REDUCER = """
from triptych import Port, When


class Half:
    when = When.INPUT
    whole = False
    reads = (Port("image_features", "float", ("N", "H")),)
    writes = (Port("keep_rows", "bool", ("N",)),)
    cache_pairs = ()

    def __call__(self, ports):
        rows = len(ports["image_features"])
        return {"keep_rows": numpy.arange(rows) % 2 == 0}
"""
REDUCER_HOOK = """
import numpy


@hookimpl
def stages():
    return [Component("half", ":Half", "keeps every second row")]
"""


def test_an_inserted_stage_is_told_under_its_label(triptych, tiny_pipeline, plugin_file):
    path = plugin_file(REDUCER_HOOK, REDUCER)
    change = ["--insert=after mrope: {local/half: , as: thinner}", "--plugin", path]
    done = triptych("check", tiny_pipeline, *change)
    assert (done.code, done.err) == (0, "")
    assert (
        "    thinner (local/half)\n"
        "      reads   image_features from vision_encoder\n"
        "      writes  keep_rows\n"
    ) in done.out
    drawing = triptych("show", tiny_pipeline, "--mermaid", *change).out
    assert '    stage2["thinner (local/half)"]\n' in drawing
    assert '  stage2 -->|"keep_rows"| core\n' in drawing


@pytest.mark.parametrize(
    ("change", "place", "cause"),
    [
        ("--remove=merge", "vision_encoder", "writes 'image_features', which nobody reads"),
        ("--remove=mrope", "decoder", "reads 'position_ids', which nobody writes"),
        ("--set=sampler=[{top_k: 7}, greedy]", "sampler.top_k", "has no effect"),
        ("--set=decoder.graph=no.onnx", "decoder.graph", "there is no file 'no.onnx'"),
    ],
)
def test_what_does_not_fit_is_the_error_of_the_config_and_the_code_2(
    triptych, tiny_pipeline, change, place, cause
):
    done = triptych("check", tiny_pipeline, change)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("error: ")
    assert place in done.err
    assert "Traceback" not in done.err
    assert cause in done.err


REFUSED = {
    "a strategy that cannot use the chain": (
        ["--set=strategy=beam_search", "--set=sampler=[draw]"],
        "error: --set sampler=[draw]: sampler.draw: beam_search ranks tokens itself; end the "
        "sampler with 'greedy', or choose the strategy best_of_n for sampled texts\n",
    ),
    "a chain without chance, as the file has it": (
        ["--set=strategy=best_of_n"],
        "error: FILE:15:5: sampler.greedy: best_of_n: all texts of a chain without chance are the "
        "same; end the sampler with 'draw', or choose the strategy beam_search\n",
    ),
    "a reducer before positions": (
        ["--insert=before mrope: {token_norm: 0.5}"],
        "error: --insert 'before mrope: {token_norm: 0.5}': stages.token_norm: drops visual rows, "
        "and mrope behind it must see all of them\n  put it after mrope\n",
    ),
    "a cache that is shown nothing": (
        ["--set=decoder.cache={h2o: 8}"],
        "error: --set decoder.cache={h2o: 8}: stages.decoder.cache: h2o needs 'attention.0', which "
        "neither decoder nor a stage before it writes\n  export the checkpoint anew: "
        "triptych export CHECKPOINT OUT --expose attention:0-2\n"
        "  known: deepstack_embeds, input_ids, inputs_embeds, logits, next_position, position_ids, "
        "source, visual_index\n",
    ),
    "a step of the chain that cannot be made": (
        ["--set=sampler=[{constrain: {regex: '('}}, greedy]"],
        "error: --set sampler=[{constrain: {regex: '('}}, greedy]: sampler.constrain: the regular "
        "expression cannot be used: unclosed group\n",
    ),
    "an empty chain": (
        ["--set=sampler=[]"],
        "error: --set sampler=[]: sampler: the chain has no chooser: its last item picks the "
        "token\n"
        "  add '- draw' (random) or '- greedy' (the most likely token) at its end\n",
    ),
    "an empty list of stages": (
        ["--set=stages=[]"],
        "error: --set stages=[]: stages: a pipeline has at least one stage\n",
    ),
    "no choices": (
        ["--set=sampler=[{constrain: {choices: []}}, greedy]"],
        "error: --set sampler=[{constrain: {choices: []}}, greedy]: sampler.constrain.choices: an "
        "empty list is not a list of at least 1 item\n",
    ),
    "no requests at once": (
        ["--set=session.max_batch=0"],
        "error: --set session.max_batch=0: session.max_batch: 0 is not 1 or more\n",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_run_would_refuse_is_refused_with_its_place(triptych, tiny_pipeline, case):
    if "constrain" in str(REFUSED[case]):
        pytest.importorskip("llguidance")
    flags, message = REFUSED[case]
    done = triptych("check", tiny_pipeline, *flags)
    expected = message.replace("FILE", str(tiny_pipeline / "pipeline.yaml"))
    assert (done.code, done.out, done.err) == (2, "", expected)


def test_keys_in_whole_numbers_are_refused_by_a_policy_that_looks_at_them(triptych, tmp_path):
    from triptych.export import export_checkpoint

    checkpoint = Path(__file__).parents[2] / "checkpoints" / "sketch"
    folder = export_checkpoint(checkpoint, tmp_path / "export", kv_cache="int8")
    done = triptych("check", folder, "--set=decoder.cache={key_norm: 8}")
    assert done.code == 2
    assert "stages.decoder.cache: key_norm compares norms of keys, and past_key" in done.err


def test_operators_that_a_gpu_has_no_kernel_for_are_told(triptych, tiny_pipeline):
    assert "note:" not in triptych("check", tiny_pipeline).out
    done = triptych("check", "sketch", "--set=session.providers=[cuda, cpu]")
    assert (done.code, done.err) == (0, "")
    notes = [line.strip() for line in done.out.splitlines() if "note:" in line]
    assert notes == [
        "note: decoder: CUDA has no kernel for GroupQueryAttention (in float32), so that runs on "
        "the CPU, with a copy each way"
    ]


def test_attention_over_a_cache_of_float16_has_a_kernel_on_a_gpu(triptych, tmp_path):
    from triptych.export import export_checkpoint

    checkpoint = Path(__file__).parents[2] / "checkpoints" / "sketch"
    folder = export_checkpoint(checkpoint, tmp_path / "export", precision="fp16", kv_cache="fp16")
    done = triptych("check", folder, "--set=session.providers=[cuda, cpu]")
    assert (done.code, done.err) == (0, "")
    assert "no kernel" not in done.out

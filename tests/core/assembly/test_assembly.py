"""A pipeline is checked as a whole before it runs."""

import pytest

import triptych
from triptych.core.graphs.onnx_stage import OnnxStage

WINDOW = {"decoder.cache": {"window": {"size": 16}}}


def test_a_cache_that_evicts_is_refused_for_a_graph_on_another_device(tiny_pipeline, monkeypatch):
    monkeypatch.setattr(OnnxStage, "device", "cuda")
    triptych.load(tiny_pipeline)  # `full` moves nothing
    with pytest.raises(triptych.ConfigError) as caught:
        triptych.load(tiny_pipeline, overrides=WINDOW)
    assert str(caught.value) == (
        "overrides['decoder.cache']: stages.decoder.cache: the cache evicts rows in the memory of "
        "the CPU, and the graph keeps them on cuda\n"
        "  choose 'cache: full', or 'session.providers: [cpu]'"
    )


def test_on_the_cpu_it_runs(tiny_pipeline):
    pipeline = triptych.load(tiny_pipeline, overrides=WINDOW)
    assert pipeline.generate("Hello", max_new_tokens=40, seed=1).usage.completion_tokens == 40

"""Every built-in component keeps what its kind promises, as a plugin's author is asked to."""

from pathlib import Path

import pytest

from triptych import Item, Request
from triptych.core.components.catalog import SINGULAR, Catalog
from triptych.core.config.locate import builtin
from triptych.testing import Subject, answer, parametrize_with_checks
from triptych.testing.check import checks_of

SKETCH = builtin("sketch")
GRAPHS = {
    "vision_encoder": {"graph": SKETCH / "vision_encoder.onnx"},
    "embeddings": {"graph": SKETCH / "embeddings.onnx"},
    "decoder": {"graph": SKETCH / "decoder.onnx"},
    "onnx": {"graph": SKETCH / "embeddings.onnx", "when": "span"},
}
REDUCERS = ("token_random", "token_grid", "token_norm", "token_merge", "evs")
REDUCERS = ("token_random", "token_grid", "token_norm", "token_merge", "evs")
SETTINGS = {
    "samplers": {
        "temperature": {"temperature": 0.7},
        "top_k": {"k": 5},
        "top_p": {"p": 0.9},
        "min_p": {"p": 0.1},
        "typical": {"mass": 0.9},
        "epsilon": {"epsilon": 0.01},
        "eta": {"epsilon": 0.01},
        "top_n_sigma": {"n": 1.0},
        "top_h": {"h": 0.5},
        "dynamic_temperature": {"low": 0.5, "high": 1.5},
        "repetition_penalty": {"penalty": 1.2},
        "presence_penalty": {"penalty": 0.5},
        "frequency_penalty": {"penalty": 0.5},
        "no_repeat_ngram": {"size": 2},
        "dry": {"multiplier": 0.8},
        "logit_bias": {"bias": [{"text": "a", "bias": 2.0}]},
        "bad_words": {"words": ["a"]},
        "min_new_tokens": {"count": 4},
        "exponential_decay_length": {"start": 2, "factor": 1.5},
    },
    "stages": {
        **GRAPHS,
        **{name: {"ratio": 0.5} for name in REDUCERS},
        **{name: {"ratio": 0.5, "layer": 2} for name in ("visionzip", "fastv")},
        "torch_vision_encoder": {"checkpoint": SKETCH.parents[4] / "checkpoints" / "sketch"},
    },
    "strategies": {"dola": {"layers": (1, 3)}},
    "processors": {"hf": {"folder": SKETCH}, "qwen_vl": {"folder": SKETCH}},
    "caches": {
        "window": {"size": 8, "slack": 4},
        "key_norm": {"size": 8, "recent": 4, "slack": 4},
        "h2o": {"size": 8, "recent": 4, "slack": 4, "slice": 12},
    },
}
"""What a component needs to be made at all; the others are as they come."""

EXAMPLES = {
    "json_fields": [
        (Item(f"item {number}", Request("?"), reference), answer(text))
        for number, (reference, text) in enumerate(
            [({"a": 1}, '{"a": 1}'), ("[1, 2]", "[2]"), ({}, ""), ({"b": None}, "Sure!")]
        )
    ],
}
"""What a component is tried on, where it is not every text."""

ELSEWHERE = {
    ("samplers", "constrain"): "needs a tokenizer: tests/end_to_end/test_constrained.py",
    ("stages", "features"): "needs files: tests/end_to_end/test_swapped_parts.py",
    (
        "stages",
        "torch_vision_encoder",
    ): "needs a checkpoint and torch: tests/end_to_end/test_swapped_parts.py",
    ("strategies", "draft"): "needs a second pipeline: tests/core/execution/test_draft.py",
    ("datasets", "jsonl"): "needs a file: tests/plugins/datasets/test_jsonl.py",
    ("datasets", "image_folder"): "needs files: tests/plugins/datasets/test_image_folder.py",
    ("datasets", "hf_dataset"): "needs files: tests/plugins/datasets/test_hf_dataset.py",
}
"""What cannot be checked by itself, and where it is."""


def subjects():
    catalog = Catalog()
    for kind in SINGULAR:
        if kind == "exporters":
            continue
        for name in catalog.names(kind):
            if (kind, name) not in ELSEWHERE:
                settings = SETTINGS.get(kind, {}).get(name, {})
                target = catalog.find(kind, name).load()
                yield Subject(SINGULAR[kind], target, settings, EXAMPLES.get(name, ()))


@parametrize_with_checks(list(subjects()))
def test_a_built_in_component_keeps_its_promises(subject, check):
    check(subject)


@pytest.mark.parametrize("name", Catalog().names("exporters"))
def test_a_built_in_family_says_what_it_accepts(name):
    subject = Subject("exporter", Catalog().find("exporters", name).load())
    for check in checks_of("exporter"):
        if check.applies(subject):
            check(subject)


def test_a_family_keeps_its_promises_over_a_checkpoint(tiny_checkpoint):
    subject = Subject(
        "exporter", Catalog().find("exporters", "qwen3_vl").load(), {}, [tiny_checkpoint]
    )
    for check in checks_of("exporter"):
        check(subject)


def test_what_is_checked_elsewhere_is_there():
    catalog = Catalog()
    root = Path(__file__).parents[2]
    for (kind, name), where in ELSEWHERE.items():
        assert name in catalog.names(kind)
        assert name in (root / where.rpartition(" ")[2]).read_text(encoding="utf-8")

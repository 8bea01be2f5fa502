"""Flags and keywords change a pipeline file without editing it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.core.config.conftest import GOOD
from triptych.core.config.chain import SamplingFlags
from triptych.core.config.edits import Override, parse_set
from triptych.core.config.load import load_spec
from triptych.core.config_error import ConfigError


@pytest.fixture
def load(folder, catalog):
    def loader(**changes):
        return load_spec("pipeline.yaml", catalog=catalog, **changes)

    return loader


def labels(parts):
    return [part.label for part in parts]


# Overrides


def test_a_label_alone_sets_the_main_setting(load):
    spec = load(overrides={"sampler.top_p": 0.5, "decoder": "extra.onnx"})
    assert spec.sampler[2].settings.p == 0.5
    assert spec.stages[4].settings.graph.name == "extra.onnx"


def test_a_setting_is_addressed_below_the_label(load):
    spec = load(
        overrides={
            "sampler.top_p.least": 3,
            "decoder.cache": {"window": {"size": 8}},
            "session.threads": 2,
            "stop.max_new_tokens": 7,
            "stop.strings": ["END"],
            "approximate": True,
        }
    )
    assert spec.sampler[2].settings.model_dump() == {"p": 0.9, "least": 3}
    assert spec.stages[4].settings.cache.settings.size == 8
    assert spec.stages[4].settings.graph.name == "decoder.onnx"
    assert (spec.session.threads, spec.session.providers) == (2, ("cpu",))
    assert (spec.stop.max_new_tokens, spec.stop.strings) == (7, ("END",))
    assert spec.approximate is True


def test_the_address_that_a_message_names_works_too(load):
    assert load(overrides={"stages.decoder.cache": "full"}).stages[4].settings.cache.name == "full"


def test_a_main_setting_keeps_the_others_and_a_mapping_replaces_them(load, write):
    write(GOOD.replace("top_p: 0.9", "top_p: {p: 0.9, least: 7}"))
    assert load(overrides={"sampler.top_p": 0.5}).sampler[2].settings.least == 7
    assert load(overrides={"sampler.top_p": {"p": 0.5}}).sampler[2].settings.least == 1


@pytest.mark.parametrize(
    "overrides",
    [
        {"decoder.cache.window.size": 8, "decoder.cache.window.sinks": 2},
        {"decoder.cache.window": 8, "decoder.cache.sinks": 2},
        {"decoder.cache": {"window": 8}, "decoder.cache.window.sinks": 2},
        {"decoder.cache": "window", "decoder.cache.size": 8, "decoder.cache.sinks": 2},
    ],
)
def test_an_item_in_a_setting_is_addressed_by_its_name(load, overrides):
    cache = load(overrides=overrides).stages[4].settings.cache
    assert cache.settings.model_dump() == {"size": 8, "sinks": 2}


@pytest.mark.parametrize(
    "overrides",
    [
        {"strategy": {"prompt_lookup": 2}},
        {"strategy.prompt_lookup": 2},
        {"strategy.prompt_lookup.ngram": 2},
        {"strategy": "prompt_lookup", "strategy.ngram": 2},
    ],
)
def test_the_strategy_is_swapped_and_set(load, overrides):
    strategy = load(overrides=overrides).strategy
    assert (strategy.name, strategy.label, strategy.settings.ngram) == (
        "prompt_lookup",
        "strategy",
        2,
    )


def test_ports_and_ignored_outputs_are_settable(load):
    overrides = {"decoder.ports.past.0.key": "other", "decoder.ignore": ["hidden"]}
    decoder = load(overrides=overrides).stages[4]
    assert decoder.ports["past.0.key"].port == "other"
    assert decoder.ignore == ("hidden",)


def test_a_shipped_warp_that_is_missing_is_inserted(load, write):
    write(
        GOOD.replace("  - temperature: 0.7\n  - top_k: 50\n  - top_p: 0.9\n  - draw", "  - greedy")
    )
    spec = load(overrides={"sampler.top_p.p": 0.5, "sampler.temperature": 2})
    assert labels(spec.sampler) == ["temperature", "top_p", "draw"]
    assert spec.sampler[1].settings.p == 0.5


def test_a_label_may_hold_a_slash(load):
    spec = load(
        insert=["after merge: {onnx: extra.onnx, as: decoder/two}"],
        overrides={"decoder/two.graph": "decoder.onnx"},
    )
    assert spec.stages[4].settings.graph.name == "decoder.onnx"


def test_dotted_paths_start_at_the_working_directory(load, folder, catalog, monkeypatch):
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "mine.onnx").write_bytes(b"")
    monkeypatch.chdir(elsewhere)
    spec = load_spec(folder, catalog=catalog, overrides={"decoder.graph": "./mine.onnx"})
    assert spec.stages[4].settings.graph == elsewhere / "mine.onnx"
    spec = load_spec(folder, catalog=catalog, overrides={"decoder.graph": "extra.onnx"})
    assert spec.stages[4].settings.graph == folder / "extra.onnx"
    with pytest.raises(ConfigError, match="lies outside"):
        load_spec(folder, catalog=catalog, overrides={"decoder.graph": "./../../x.onnx"})


def test_a_path_object_is_meant_as_python_means_it(load, folder, catalog, monkeypatch):
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "mine.onnx").write_bytes(b"")
    monkeypatch.chdir(elsewhere)
    for path in (Path("mine.onnx"), elsewhere / "mine.onnx"):
        spec = load_spec(folder, catalog=catalog, overrides={"decoder.graph": path})
        assert spec.stages[4].settings.graph == elsewhere / "mine.onnx"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("sampler.top_p=0.9", 0.9),
        ("sampler.top_p = 0.9", 0.9),
        ("stop.strings=['a=b', c]", ["a=b", "c"]),
        ("decoder.cache={window: {size: 4}}", {"window": {"size": 4}}),
        ("approximate=yes", "yes"),
        ("session.chunk=", None),
    ],
)
def test_values_of_the_command_line_are_yaml(text, value):
    assert parse_set(text) == Override(text.partition("=")[0].strip(), value)


# Stages


def test_stages_are_inserted_replaced_and_removed(load):
    spec = load(
        remove=["merge", "sampler.top_k"],
        replace=["mrope: positions"],
        insert=["after mrope: {onnx: {graph: extra.onnx, when: input}, as: probe}"],
    )
    assert labels(spec.stages) == ["vision_encoder", "mrope", "probe", "embeddings", "decoder"]
    assert spec.stages[1].name == "positions"
    assert labels(spec.sampler) == ["temperature", "top_p", "draw"]


@pytest.mark.parametrize(
    "insert",
    [
        "before sampler.draw: {penalty: 1.5}",
        ("before", "sampler.draw", {"penalty": 1.5}),
        {"before sampler.draw": {"penalty": 1.5}},
        [{"after sampler.top_p": {"penalty": {"factor": 1.5}}}],
    ],
)
def test_an_insertion_has_several_forms(load, insert):
    spec = load(insert=insert)
    assert labels(spec.sampler) == ["temperature", "top_k", "top_p", "penalty", "draw"]
    assert spec.sampler[3].settings.factor == 1.5


@pytest.mark.parametrize("replace", ["draw2", {"sampler.draw": "greedy"}, ["sampler.draw: greedy"]])
def test_a_replacement_has_several_forms(load, replace):
    if replace == "draw2":
        replace = "sampler.draw: greedy"
    spec = load(replace=replace, remove=["sampler.temperature", "sampler.top_k", "sampler.top_p"])
    assert (spec.sampler[0].label, spec.sampler[0].name) == ("draw", "greedy")


def test_the_processor_and_the_strategy_are_replaced_by_their_key(load):
    spec = load(replace={"strategy": "prompt_lookup", "processor": {"hf": "."}})
    assert (spec.strategy.name, spec.processor.name) == ("prompt_lookup", "hf")


def test_changes_are_applied_in_one_order_whatever_order_they_are_given_in(load):
    spec = load(
        flags=SamplingFlags(top_p=0.1),
        overrides={"mrope.graph": "extra.onnx", "sampler.top_p": 0.2},
        insert={"after mrope": {"onnx": "decoder.onnx"}},
        replace={"mrope": {"embeddings": "decoder.onnx"}},
        remove=["embeddings"],
    )
    # `embeddings` was gone before `mrope` was replaced by it and set under its label.
    assert labels(spec.stages) == ["vision_encoder", "mrope", "onnx", "merge", "decoder"]
    assert spec.stages[1].settings.graph.name == "extra.onnx"
    assert spec.sampler[2].settings.p == 0.1


# Errors


SET_ERRORS = [
    (
        "sampler.tpo_p=1",
        "there is no sampling step 'tpo_p'\n"
        "  did you mean 'top_p'?\n  known: temperature, top_k, top_p, draw",
    ),
    (
        "sampler.mirostat=1",
        "there is no sampling step 'mirostat'\n  known: temperature, top_k, top_p, draw",
    ),
    ("sampler.top_p=2", "sampler.top_p.p: 2 is not 1 or less"),
    (
        "sampler.top_p.q=2",
        "sampler.top_p.q: there is no setting 'q'\n  known: p, least",
    ),
    (
        "decodr.cache=full",
        "there is no stage 'decodr'\n"
        "  did you mean 'decoder'?\n  known: vision_encoder, mrope, embeddings, merge, decoder",
    ),
    (
        "top_p=0.5",
        "there is no stage 'top_p'\n  a sampling step is addressed as sampler.top_p\n"
        "  known: vision_encoder, mrope, embeddings, merge, decoder",
    ),
    (
        "sesion.threads=2",
        "there is no stage 'sesion'\n"
        "  did you mean 'session'?\n  known: vision_encoder, mrope, embeddings, merge, decoder",
    ),
    ("session.threads=0", "session.threads: 0 is not 'auto' or above 0"),
    ("mrope=3", "stages.mrope: mrope takes no settings; write its name alone"),
    ("mrope.sections=3", "mrope takes no settings"),
    (
        "decoder.graph=decodr.onnx",
        "stages.decoder.graph: there is no file 'decodr.onnx' in FOLDER\n"
        "  did you mean 'decoder.onnx'?",
    ),
    (
        "decoder.cache=ful",
        "stages.decoder.cache.ful: there is no cache 'ful'\n"
        "  did you mean 'full'?\n  known: full, window",
    ),
    ("strategy.ngram=2", "autoregressive takes no settings"),
    ("format=2", "'format' cannot be set from outside of the file"),
    ("sampler=3", "sampler: 3 is not a list of items ('- name')"),
    ("sampler.top_p", "is not of the form ADDRESS=VALUE\n  as in sampler.top_p=0.9"),
    ("=1", "is not of the form ADDRESS=VALUE\n  as in sampler.top_p=0.9"),
    ("a.b=[1", "is not valid YAML: expected ',' or ']', but the file ends here"),
]


@pytest.mark.parametrize(("text", "message"), SET_ERRORS, ids=[text for text, _ in SET_ERRORS])
def test_a_wrong_set_flag_is_refused_by_its_name(load, folder, text, message):
    with pytest.raises(ConfigError) as caught:
        load(overrides=[parse_set(text)], spoken="flags")
    assert str(caught.value).replace(str(folder), "FOLDER") == f"--set {text}: {message}"


def test_a_step_that_setting_it_would_insert_is_known_where_the_chain_has_none(load):
    with pytest.raises(ConfigError) as caught:
        load(overrides={"sampler": ["greedy"], "sampler.temprature": 1})
    assert caught.value.nearest == "temperature"
    assert caught.value.known == ["greedy", "temperature", "top_k", "top_p"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"remove": ["merg"]},
            "--remove 'merg': there is no stage 'merg'\n"
            "  did you mean 'merge'?\n  known: vision_encoder, mrope, embeddings, merge, decoder",
        ),
        (
            {"replace": ["sampler.drow: greedy"]},
            "--replace 'sampler.drow: greedy': there is no sampling step 'drow'\n"
            "  did you mean 'draw'?\n  known: temperature, top_k, top_p, draw",
        ),
        (
            {"replace": ["mrope: position"]},
            "--replace 'mrope: position': stages.mrope: there is no stage 'position'\n"
            "  did you mean 'positions'?\n"
            "  known: vision_encoder, embeddings, decoder, onnx, mrope, positions, merge, fails",
        ),
        (
            {"replace": ["mrope: {positions: , as: mine}"]},
            "--replace 'mrope: {positions: , as: mine}': as: "
            "a replacement keeps its label, 'mrope'",
        ),
        (
            {"replace": ["mrope"]},
            "--replace 'mrope': is not of the form 'mrope: positions'",
        ),
        (
            {"insert": ["behind mrope: merge"]},
            "--insert 'behind mrope: merge': 'behind mrope' is not a place\n"
            "  write 'after LABEL' or 'before LABEL'",
        ),
        (
            {"insert": ["after mrope: merge"]},
            "--insert 'after mrope: merge': stages.merge: the label 'merge' is taken "
            "by the item of line 7\n  give this one a label of its own: {merge: ..., as: LABEL}",
        ),
        (
            {"insert": ["after mrope: [a"]},
            "--insert 'after mrope: [a': is not valid YAML: "
            "expected ',' or ']', but the file ends here",
        ),
        (
            {"insert": [3]},
            "insert: 3 is neither text nor a mapping",
        ),
    ],
)
def test_a_wrong_change_of_stages_is_refused_by_its_flag(load, changes, message):
    with pytest.raises(ConfigError) as caught:
        load(**changes, spoken="flags")
    assert str(caught.value) == message


def test_python_speaks_of_keywords(load):
    with pytest.raises(ConfigError, match=r"^overrides\['sampler.top_p'\]: sampler.top_p.p: 2 is"):
        load(overrides={"sampler.top_p": 2})
    with pytest.raises(ConfigError, match=r"^remove='merg': there is no stage 'merg'"):
        load(remove="merg")


def test_what_was_typed_is_repeated(load):
    change = parse_set("decoder.cache={window: 0}")
    with pytest.raises(ConfigError) as caught:
        load(overrides=[change], spoken="flags")
    assert str(caught.value).startswith("--set decoder.cache={window: 0}: ")


@pytest.mark.parametrize(
    ("address", "remedy"),
    [
        ("max_new_tokens", "\n  that setting is addressed as stop.max_new_tokens\n"),
        ("threads", "\n  that setting is addressed as session.threads\n"),
    ],
)
def test_a_setting_of_a_section_is_pointed_to(load, address, remedy):
    with pytest.raises(ConfigError) as caught:
        load(overrides={address: 3})
    assert remedy in str(caught.value)


def test_a_section_is_not_suggested_for_itself(load):
    with pytest.raises(ConfigError) as caught:
        load(remove=["sampler"])
    assert "did you mean" not in str(caught.value)


def test_overrides_are_no_text(load):
    with pytest.raises(ConfigError, match="overrides: is text, not a mapping"):
        load(overrides="sampler.top_p=1")


def test_threads_have_a_bound(load):
    with pytest.raises(ConfigError, match="1024 or less"):
        load(overrides={"session.threads": 100_000})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"remove": ["sampler.draw"]}, "the chain has no chooser"),
        ({"overrides": {"sampler": []}}, "overrides['sampler']: sampler: the chain has no chooser"),
        ({"overrides": {"stages": []}}, "overrides['stages']: stages: a pipeline has at least one"),
    ],
)
def test_what_a_change_emptied_is_the_changes_fault(load, change, message):
    with pytest.raises(ConfigError) as error:
        load(**change)
    assert message in str(error.value)

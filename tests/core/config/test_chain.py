"""Sampling flags change the chain that a file describes; its rules hold for all chains."""

from __future__ import annotations

import pytest

from triptych.core.config.chain import SamplingFlags
from triptych.core.config.load import load_spec
from triptych.core.config_error import ConfigError


@pytest.fixture
def spec(folder, catalog):
    return load_spec("pipeline.yaml", catalog=catalog)


def chain(parts):
    """The parts as YAML would have them, the main setting only."""
    items = []
    for part in parts:
        main = part.entry.component.main
        items.append({part.label: getattr(part.settings, main)} if main else part.label)
    return items


@pytest.mark.parametrize(
    ("before", "flags", "after"),
    [
        # A flag sets the item of its name.
        (
            [{"temperature": 0.7}, {"top_p": 0.9}, "draw"],
            {"top_p": 0.5},
            [{"temperature": 0.7}, {"top_p": 0.5}, "draw"],
        ),
        # Or inserts it in the default order: temperature, top_k, top_p.
        (
            [{"temperature": 0.7}, {"top_p": 0.9}, "draw"],
            {"top_k": 5},
            [{"temperature": 0.7}, {"top_k": 5}, {"top_p": 0.9}, "draw"],
        ),
        (
            [{"penalty": 1.2}, {"top_k": 4}, "draw"],
            {"temperature": 2.0},
            [{"penalty": 1.2}, {"temperature": 2.0}, {"top_k": 4}, "draw"],
        ),
        (
            [{"temperature": 0.7}, {"penalty": 1.2}, "draw"],
            {"top_p": 0.5},
            [{"temperature": 0.7}, {"top_p": 0.5}, {"penalty": 1.2}, "draw"],
        ),
        # An order that the user chose is kept: top_k goes behind its predecessor.
        (
            [{"top_p": 0.9}, {"temperature": 0.7}, "draw"],
            {"top_k": 5},
            [{"top_p": 0.9}, {"temperature": 0.7}, {"top_k": 5}, "draw"],
        ),
        # With no neighbour it stands before the chooser, and greedy becomes draw.
        (["greedy"], {"temperature": 0.5}, [{"temperature": 0.5}, "draw"]),
        (
            [{"penalty": 1.2}, "greedy"],
            {"top_p": 0.5, "temperature": 0.5, "top_k": 3},
            [{"penalty": 1.2}, {"temperature": 0.5}, {"top_k": 3}, {"top_p": 0.5}, "draw"],
        ),
        # Greedy drops the warps that cannot matter, and only those.
        (
            [{"penalty": 1.2}, {"temperature": 0.7}, {"top_k": 4}, "draw"],
            {"no_sample": True},
            [{"penalty": 1.2}, "greedy"],
        ),
        ([{"temperature": 0.7}, "draw"], {"temperature": 0}, ["greedy"]),
        ([{"temperature": 0.7}, "draw"], {"temperature": 0.0}, ["greedy"]),
        (["greedy"], {"no_sample": True}, ["greedy"]),
        ([{"penalty": 1.2}, "greedy"], {}, [{"penalty": 1.2}, "greedy"]),
    ],
)
def test_flags_change_a_chain(spec, before, flags, after):
    parts = spec.sampler_for(flags=SamplingFlags(**flags), sampler=before)
    assert chain(parts) == after


def test_flags_mean_the_same_when_the_pipeline_is_loaded_as_for_one_call(spec, catalog):
    for flags in (SamplingFlags(top_k=3), SamplingFlags(no_sample=True)):
        loaded = load_spec("pipeline.yaml", catalog=catalog, flags=flags)
        assert chain(loaded.sampler) == chain(spec.sampler_for(flags=flags))


def test_a_flag_keeps_the_items_other_settings(spec):
    chosen = [{"top_p": {"p": 0.9, "least": 7}}, "draw"]
    part = spec.sampler_for(flags=SamplingFlags(top_p=0.5), sampler=chosen)[0]
    assert part.settings.model_dump() == {"p": 0.5, "least": 7}


def test_without_changes_the_chain_is_the_files(spec):
    assert spec.sampler_for() is spec.sampler


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (
            {"top_p": 1.5},
            "{top_p}: sampler.top_p.p: 1.5 is not 1 or less",
        ),
        (
            {"no_sample": True, "top_k": 3},
            "{top_k}: cannot be combined with {no_sample}, which takes the most likely token",
        ),
        (
            {"temperature": 0, "top_p": 0.5},
            "{top_p}: cannot be combined with {temperature}, which takes the most likely token",
        ),
        (
            {"temperature": 0.5, "no_sample": True},
            "{temperature}: cannot be combined with {no_sample}, which takes the most likely token",
        ),
        (
            {"temperature": "hot"},
            "{temperature}: sampler.temperature.temperature: 'hot' is not a number",
        ),
        (
            {"temperature": -1},
            "{temperature}: sampler.temperature.temperature: -1 is not above 0",
        ),
    ],
)
@pytest.mark.parametrize("spoken", ["flags", "keywords"])
def test_a_wrong_flag_is_refused_by_the_name_it_was_given_by(spec, flags, message, spoken):
    if spoken == "flags":
        said = {name: f"--{name.replace('_', '-')} {value}" for name, value in flags.items()}
        said["no_sample"] = "--no-sample"
    else:
        said = {name: f"{name}={value!r}" for name, value in flags.items()}
    with pytest.raises(ConfigError) as caught:
        spec.sampler_for(flags=SamplingFlags(**flags, spoken=spoken))
    assert str(caught.value) == message.format(**said)


@pytest.mark.parametrize(
    ("sampler", "message"),
    [
        ("draw", "sampler=[...]: sampler: 'draw' is not a list of items ('- name')"),
        (
            [{"temperature": 0.3}],
            "sampler=[...]: sampler.temperature: the chain has no chooser: "
            "its last item picks the token\n"
            "  add '- draw' (random) or '- greedy' (the most likely token) at its end",
        ),
        (
            [{"top_k": 1}, {"top_k": 2}, "draw"],
            "sampler=[...]: sampler.top_k: the label 'top_k' is taken by the item of "
            "sampler=[...]\n  give this one a label of its own: {top_k: ..., as: LABEL}",
        ),
        ([{1: 2}], "sampler=[...]: sampler: the key 1 is not text"),
    ],
)
def test_a_wrong_chain_from_python_is_refused_with(spec, sampler, message):
    with pytest.raises(ConfigError) as caught:
        spec.sampler_for(sampler=sampler)
    assert str(caught.value) == message


def test_a_warp_that_may_change_the_winner_may_stand_before_greedy(spec):
    assert chain(spec.sampler_for(sampler=["penalty", "greedy"])) == [{"penalty": 1.1}, "greedy"]

"""Tokens that are dropped inside a model: two decoders, each with a cache of its own length."""

from __future__ import annotations

import numpy as np
import pytest

from tests.fakes import (
    HEADS,
    HIDDEN,
    Decode,
    FakePipeline,
    FakeStage,
    cache_pair,
    fake_stages,
    fake_wiring,
    same,
)
from triptych import PluginError
from triptych.core.config_error import ConfigError
from triptych.core.ports import Port, When
from triptych.plugins.strategies.autoregressive import Autoregressive
from triptych.plugins.strategies.prompt_lookup import PromptLookup

IMAGES = [(4, 4, 1), (2, 6, 2)]
VISUAL = Port("visual_index", "int64", ("B", "S"))
KEEP = Port("keep_tokens", "bool", ("B", "S"))


class First(Decode):
    """The first half: hidden states of the second one's, from a cache with other names."""

    cache_pairs = tuple(cache_pair(f"first.{part}") for part in ("key", "value"))
    reads = (
        *(port for port in Decode.reads if not port.name.startswith(("past", "logit"))),
        *(pair.past for pair in cache_pairs),
    )
    writes = (Port("inputs_embeds", "float64", ("B", "S", HIDDEN)),)
    projections = np.random.default_rng(11).normal(size=(3, HIDDEN, HIDDEN))
    head = np.random.default_rng(12).normal(size=(HIDDEN, HIDDEN))

    def give(self, **ports):
        return super().give(inputs_embeds=ports["logits"])

    def _row(self, ports, row):
        count = ports["inputs_embeds"].shape[1]
        other = {
            **ports,
            "past.key": ports["past.first.key"],
            "past.value": ports["past.first.value"],
            "logit_index": np.tile(np.arange(count), (len(ports["inputs_embeds"]), 1)),
        }
        return super()._row(other, row)


class Second(Decode):
    """The second half: no DeepStack, which the first one has added."""

    reads = tuple(port for port in Decode.reads if port.name != "deepstack_embeds")

    def _row(self, ports, row):
        return super()._row({**ports, "deepstack_embeds": np.zeros((1, 1, 1, HIDDEN))}, row)


def every_other(visual_index):
    return {"keep_tokens": (visual_index < 0) | (visual_index % 2 == 0)}


def drops(call=every_other, *, port=KEEP, reads=(VISUAL,), whole=True):
    return FakeStage(reads, [port], call, when=When.SPAN, whole=whole)


def halves(stage=None, **more):
    stages = fake_stages(replace={"decode": Second()})
    stages.insert(-1, ("first", First()))
    if stage is not None:
        stages.insert(-1, ("drop", stage))
    return FakePipeline(stages, **more)


# By hand


def attended(stage, embeds, positions):
    """What one fake decoder gives for [S, H] at positions [3, S], all at once; causal."""
    count = len(embeds)
    placed = embeds + np.sin(positions.T @ stage.turn)
    query, key, value = (
        (x @ weight).reshape(count, HEADS, -1).swapaxes(0, 1)
        for x, weight in zip((placed, placed, embeds), stage.projections, strict=True)
    )
    scores = query @ key.swapaxes(1, 2)
    scores[:, ~np.tri(count, dtype=bool)] = -np.inf
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    weights /= weights.sum(-1, keepdims=True)
    return np.tanh(placed + (weights @ value).swapaxes(0, 1).reshape(count, HIDDEN)) @ stage.head


def by_hand(text, images, more=()):
    """The logits of a prompt and what follows, with every other visual token dropped between."""
    plain = FakePipeline()
    prompt = plain.prompt(text, images)
    before = plain.executor.probe(prompt, "next_position")
    ports = plain.executor.probe(prompt, "deepstack_embeds" if images else "inputs_embeds")
    embeds = ports["inputs_embeds"][0].copy()
    if images:
        embeds += ports["deepstack_embeds"].sum(0)[0]
    start = int(before["next_position"][-1])
    table = plain.stages["embed"].table
    embeds = np.concatenate([embeds, *[table[[token]] for token in more]])
    after = np.tile(start + np.arange(len(more)), (3, 1))
    positions = np.concatenate([before["position_ids"], after], axis=1)
    visual = np.concatenate([before["visual_index"], np.full(len(more), -1)])
    hidden = attended(First(), embeds, positions)
    keep = (visual < 0) | (visual % 2 == 0)
    return attended(Second(), hidden[keep], positions[:, keep])


def greedy(text, images, count):
    """So many tokens, one after the other, all by hand."""
    tokens = []
    for _ in range(count):
        tokens.append(int(by_hand(text, images, tokens)[-1].argmax()))
    return tokens


# What must hold


def test_two_halves_and_a_stage_that_keeps_all_are_one_run():
    def keep_all(visual_index):
        return {"keep_tokens": np.ones(visual_index.shape, bool)}

    same(
        halves(drops(keep_all)).logits("1 2 3", IMAGES, tail=3),
        halves().logits("1 2 3", IMAGES, tail=3),
    )


def test_the_second_half_sees_what_was_kept_at_its_own_place():
    pipeline = halves(drops())
    logits = pipeline.logits("1 2 3", IMAGES, tail=2)
    same(logits, by_hand("1 2 3", IMAGES)[-3:])
    assert np.abs(logits - halves().logits("1 2 3", IMAGES, tail=2)).max() > 0.01
    assert pipeline.stages["first"].slices[0] - pipeline.stages["decode"].slices[0] == 3


def without_twos(**more):
    """A stage that judges each token by itself, and so may see a prompt in slices."""

    def keep(input_ids):
        return {"keep_tokens": input_ids != 2}

    reads = [Port("input_ids", "int64", ("B", "S"))]
    return halves(drops(keep, reads=reads, whole=False), **more)


@pytest.mark.parametrize("chunk", [1, 2, 5, 7])
def test_slices_change_nothing_where_each_token_is_judged_by_itself(chunk):
    text = "1 2 3 2 2 4 2 5 6 7 8"
    sliced = without_twos(chunk=chunk).logits(text, IMAGES, tail=3)
    same(sliced, without_twos().logits(text, IMAGES, tail=3))
    assert np.abs(sliced - halves().logits(text, IMAGES, tail=3)).max() > 0.01


def started(pipeline, text, images, strategy=None):
    made = pipeline.generation(pipeline.prompt(text, images), max_new_tokens=10)
    job = pipeline.scheduler.submit(
        made, strategy or Autoregressive(), "mine", release=made.sequence.close
    )
    return made, job


def advance(pipeline, made, job):
    made.pieces.clear()
    pipeline.scheduler.advance(job)
    assert job.error is None, job.error


def tokens(pipeline, text, images, strategy=None):
    made, job = started(pipeline, text, images, strategy)
    while not job.done:
        advance(pipeline, made, job)
    return list(made.tokens)


def test_tokens_that_are_generated_go_on_in_both_caches():
    pipeline = halves(drops())
    assert tokens(pipeline, "1 2 3", IMAGES) == greedy("1 2 3", IMAGES, 10)


def test_a_sequence_goes_back_in_caches_of_two_lengths():
    pipeline = halves(drops())
    sequence = pipeline.sequence("1 2 3", IMAGES)
    pipeline.forward(sequence)
    whole = len(sequence)
    lengths = {label: len(slot.index) for label, slot in sequence.caches.items()}
    assert lengths == {"first": whole, "decode": whole - 3}
    sequence.append([5, 6, 7])
    pipeline.forward(sequence)
    fork = sequence.fork()
    assert sequence.truncate(whole + 1)
    sequence.append([9])
    logits = pipeline.forward(sequence)
    same(logits, by_hand("1 2 3", IMAGES, [5, 9])[-1:])
    fork.append([8])
    same(pipeline.forward(fork), by_hand("1 2 3", IMAGES, [5, 6, 7, 8])[-1:])
    # Back to between two tokens of an image: those before keep their rows in either cache.
    fork.truncate(6)
    assert {label: slot.index for label, slot in fork.caches.items()} == {
        "first": [0, 1, 2, 3, 4, 5],
        "decode": [token for token in range(6) if keeps_token(token)],
    }


def keeps_token(token):
    """Of "1 2 3" about IMAGES: begin, four rows, end, begin, three rows, end, then text."""
    visual = [-1, 0, 1, 2, 3, -1, -1, 4, 5, 6, -1, -1, -1, -1][token]
    return visual < 0 or visual % 2 == 0


def test_drafts_roll_back_in_both_caches():
    pipeline = halves(drops())
    lookup = PromptLookup(PromptLookup.Settings())
    text = "1 2 3 1 2 3 1 2"
    assert tokens(pipeline, text, IMAGES, strategy=lookup) == greedy(text, IMAGES, 10)


def test_requests_are_decoded_together_with_caches_of_other_lengths():
    pipeline = halves(drops())
    asked = [("1 2 3", IMAGES), ("4 5", IMAGES[:1]), ("6 7 8 9", [])]
    jobs = [started(pipeline, *one) for one in asked]
    while not all(job.done for _, job in jobs):
        advance(pipeline, *next(one for one in jobs if not one[1].done))
    assert [made.tokens for made, _ in jobs] == [greedy(*one, 10) for one in asked]
    assert 3 in pipeline.stages["decode"].batches_of


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda visual_index: {"keep_tokens": visual_index > 99}, "whose logits are wanted"),
        (lambda visual_index: {"keep_tokens": visual_index[:, 1:] < 0}, "tokens, where"),
    ],
)
def test_a_stage_that_drops_too_much_is_named(call, message):
    with pytest.raises(PluginError, match=f"stage drop wrote.*{message}"):
        halves(drops(call)).logits("1 2 3", IMAGES)


@pytest.mark.parametrize(
    ("stage", "message"),
    [
        (
            FakeStage([Port("visual_index", "int64", ("S",))],
                      [Port("keep_tokens", "bool", ("S",))]),
            "writes 'keep_tokens' on input",
        ),
        (drops(port=Port("keep_tokens", "int64", ("S",))), "what the core reads is keep_tokens"),
        (drops(port=Port("keep_tokens", "bool", ("N",))), "what the core reads is keep_tokens"),
    ],
)  # fmt: skip
def test_another_form_of_keep_tokens_is_refused(stage, message):
    stages = fake_stages()
    stages.insert(2 if stage.when is When.INPUT else -1, ("drop", stage))
    with pytest.raises(ConfigError, match=message):
        fake_wiring(stages)


def test_who_looks_inside_is_told_which_tokens_are_left():
    pipeline = halves(drops())
    prompt = pipeline.prompt("1 2 3", IMAGES)

    def looked_at(port):
        return pipeline.executor.probe(prompt, port)[port]

    kept = looked_at("keep_tokens")
    assert kept.shape == (1, len(prompt.tokens))
    assert 0 < kept.sum() < len(prompt.tokens)
    assert looked_at("inputs_embeds").shape[1] == len(prompt.tokens), "written before the drop"
    after = pipeline.executor.probe(prompt, "logits")
    np.testing.assert_array_equal(after["input_ids"], prompt.tokens[kept[0]])
    np.testing.assert_array_equal(after["keep_tokens"], kept)


def test_who_looks_inside_is_told_which_tokens_a_reducer_has_left():
    stage = FakeStage(
        [Port("image_features", "float", ("N", HIDDEN))],
        [Port("keep_rows", "bool", ("N",))],
        lambda image_features: {"keep_rows": np.arange(len(image_features)) % 2 == 0},
    )
    pipeline = FakePipeline(fake_stages(("mrope", "prune", stage)))
    prompt = pipeline.prompt("1 2", IMAGES[:1])
    source = pipeline.executor.probe(prompt, "source")["source"]
    # A sign before the image, four rows of which two stay, one after it, and two tokens.
    assert source.tolist() == [0, 1, 3, 5, 6, 7]

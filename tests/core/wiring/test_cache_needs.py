"""What cache policies need: found before weights are read, and shown after each forward."""

from __future__ import annotations

import numpy as np
import pytest

import triptych
from tests import fakes
from tests.fakes import FakePipeline, fake_stages, pipeline_file
from triptych import Component, hookimpl
from triptych.core.config_error import ConfigError
from triptych.core.ports import Port
from triptych.core.wiring.cache_needs import Shown
from triptych.core.wiring.needs import remedy
from triptych.plugins.caches.buffers import BufferCache

NEEDED = (Port("visual_index", "int64", ("S",)), Port("inputs_embeds", "float64", ("B", "S", 8)))


class Remembers:
    """A policy whose slots note what they are shown."""

    exact = True

    def make(self, pairs, max_length, allocate):
        return BufferCache(pairs, max_length, allocate, notes=Noted)


class Noted:
    def __init__(self):
        self.tokens, self.shown, self.counts = [], [], []

    def observe(self, seen, index, count):
        self.tokens += index.tolist()
        self.counts.append(count)
        self.shown.append({name: value.copy() for name, value in seen.items()})

    def evict(self, pasts, count):
        raise AssertionError("there is room")

    def truncate(self, length):
        return True

    def fork(self):
        return Noted()


def shown_to(sequence, name):
    """What the slot of a sequence has been shown of a port, token by token."""
    [slot] = sequence.caches.values()
    return np.concatenate([one[name] for one in slot.notes.shown])


def watching(**more):
    return FakePipeline(policy=Remembers(), shown=Shown({"decode": NEEDED}), **more)


@pytest.mark.parametrize("chunk", [None, 3, 1])
def test_a_slot_is_shown_each_of_its_tokens_once_however_they_are_cut(chunk):
    pipeline = watching(chunk=chunk)
    sequence = pipeline.sequence("1 2 3", [(4, 4, 1)])
    pipeline.forward(sequence)
    for token in (5, 6):
        sequence.append([token])
        pipeline.forward(sequence)
    [slot] = sequence.caches.values()
    assert slot.notes.tokens == list(range(len(sequence)))
    assert slot.notes.counts[-2:] == [len(sequence) - 1, len(sequence)]
    table = fake_stages()[2][1].table[sequence.tokens]
    text = sequence.table["visual_index"].values < 0
    np.testing.assert_array_equal(shown_to(sequence, "visual_index") < 0, text)
    np.testing.assert_array_equal(shown_to(sequence, "inputs_embeds")[text], table[text])


def test_in_company_each_is_shown_its_own():
    pipeline = watching()
    sequences = [pipeline.sequence(text) for text in ("1 2 3", "4 5", "6")]
    for sequence in sequences:
        pipeline.forward(sequence)
        sequence.append([7 + len(sequence)])
        pipeline.executor.enter(sequence, fakes.Clock())
    assert len(pipeline.executor.together(sequences)) == 1
    pipeline.executor.step(sequences, [])
    for sequence in sequences:
        table = fake_stages()[2][1].table[sequence.tokens]
        np.testing.assert_array_equal(shown_to(sequence, "inputs_embeds"), table)
        assert shown_to(sequence, "visual_index").tolist() == [-1] * len(sequence)


# In a file


@hookimpl
def caches():
    return [
        Component("wants", ":Wants", "wants a port", main="port"),
        Component("blind", ":Blind", "wants a port and cannot look"),
        Component("odd", ":Odd", "needs that cannot be told"),
    ]


class Wants(Remembers):
    class Settings(triptych.Settings):
        port: str

    def __init__(self, settings):
        self.port = settings.port

    def needs(self, pairs):
        assert {pair.part for pair in pairs} == {"key", "value"}
        return [self.port]


class Blind:
    exact = True
    needs = ("inputs_embeds",)

    def make(self, pairs, max_length, allocate):
        class Slots:
            def __init__(self, inner):
                self.lease, self.bind, self.settle = inner.lease, inner.bind, inner.settle

        return Slots(BufferCache(pairs, max_length, allocate))


class Odd(Remembers):
    needs = 3


def load(tmp_path, cache):
    stages = f"[local/vision, mrope, local/embed, merge, {{local/windowed: {{cache: {cache}}}}}]"
    file = pipeline_file(tmp_path, extra=f"stages: {stages}")
    return triptych.load(file, plugins=[fakes.__file__, __file__])


@pytest.mark.parametrize("port", ["inputs_embeds", "logits", "visual_index", "position_ids"])
def test_what_its_stage_writes_or_a_sequence_keeps_may_be_needed(tmp_path, port):
    pipe = load(tmp_path, f"{{local/wants: {port}}}")
    assert pipe.generate("1 2 3").tokens == load(tmp_path, "full").generate("1 2 3").tokens


@pytest.mark.parametrize(
    ("cache", "message"),
    [
        (
            "{local/wants: attention.2}",
            ":5:69: stages.local/windowed.cache: local/wants needs 'attention.2', which neither "
            "local/windowed nor a stage before it writes\n  export the checkpoint anew: triptych "
            "export CHECKPOINT OUT --expose attention:2\n",
        ),
        ("{local/wants: input_embeds}", "did you mean 'inputs_embeds'?"),
        (
            "local/blind",
            "local/blind needs ports, and its cache has no method `observe(slots, seen)`",
        ),
        ("local/odd", "the needs of local/odd cannot be told: TypeError"),
    ],
)
def test_needs_that_nothing_meets_are_refused_at_the_cache(tmp_path, cache, message):
    with pytest.raises(ConfigError) as error:
        load(tmp_path, cache)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("names", "exposed"),
    [
        (["attention.3"], "attention:3"),
        ([f"attention.{layer}" for layer in (5, 0, 1, 2, 7, 8)], "attention:0-2+5+7-8"),
        (["hidden.1", "attention.0", "hidden.2"], "hidden:1-2,attention:0"),
        (["hidden.1", "mine"], "hidden:1"),
        (["mine", "hidden.1"], None),
        ([], None),
    ],
)
def test_the_remedy_names_one_export_for_all_that_is_missing(names, exposed):
    command = f"export the checkpoint anew: triptych export CHECKPOINT OUT --expose {exposed}"
    assert remedy(*names) == (command if exposed else None)

"""Looking at ports without writing them: taps, traces, and observers of one's own."""

import gc
import json
import weakref

import numpy as np
import pytest

import triptych
from tests import fakes
from triptych import ConfigError, InputError
from triptych.recording import Tap, Together, Trace

IMAGES = [(4, 4, 1)]


def test_a_tap_says_in_few_numbers_what_a_port_is(pipe):
    told = []
    tap = Tap(["inputs_embeds"], told.append)
    reply = pipe.generate("1 2 3", max_new_tokens=3, observer=tap)
    assert tap.seen == told
    assert [(seen.step, seen.writer, seen.shape) for seen in told] == [
        (0, "local/embed", (1, 3, 8)),
        (1, "local/embed", (1, 1, 8)),
        (2, "local/embed", (1, 1, 8)),
    ]
    row = fakes.Embed.table[reply.tokens[0]]
    seen = told[1]
    assert (seen.minimum, seen.maximum, seen.dtype) == (row.min(), row.max(), "float64")
    assert seen.mean == pytest.approx(row.mean())
    assert seen.values == tuple(row[:4])
    assert str(told[1]).startswith("step 1  local/embed  inputs_embeds float64 [1, 1, 8]  min ")
    json.dumps([seen.to_dict() for seen in told], allow_nan=False)


def test_a_port_without_numbers_is_empty(pipe):
    assert "empty" in str(_seen(np.zeros((0, 3), np.float32)))


def _seen(value):
    from triptych.recording.tap import Seen

    moment = type("At", (), {"when": triptych.When.SPAN, "writer": "any"})
    return Seen.of(0, moment, "port", value)


def test_several_look_at_one_reply_each_at_its_own_ports(pipe):
    first, second = Tap(["logits"]), Tap(["position_ids", "logits"])
    both = Together([first, second])
    assert both.ports == {"logits", "position_ids"}
    pipe.generate("1 2", max_new_tokens=2, observer=both)
    assert [seen.port for seen in first.seen] == ["logits", "logits"]
    assert [seen.port for seen in second.seen] == ["position_ids", "logits"] * 2


def test_a_tap_counts_as_a_reader(load):
    changes = {"remove": ["merge"]}
    with pytest.raises(ConfigError, match="which nobody reads"):
        load(**changes)
    pipe = load(**changes, taps=["image_features", "deepstack_features"])
    tap = Tap(["deepstack_features"])
    pipe.generate("1 2", images=IMAGES, max_new_tokens=1, observer=tap)
    assert [seen.shape for seen in tap.seen] == [(2, 4, 8)]


def test_a_tap_at_no_port_is_refused_before_weights_are_read(load):
    with pytest.raises(InputError, match="no port 'logit'; did you mean 'logits'"):
        load(taps=["logit"])


def test_a_port_on_demand_is_computed_when_it_is_tapped(tiny_checkpoint, tmp_path):
    from triptych.export import export_checkpoint

    folder = export_checkpoint(tiny_checkpoint, tmp_path / "open", expose="hidden:0")
    pipe = triptych.load(folder)
    tap = Tap(["hidden.0"])
    expected = pipe.generate("Hello", max_new_tokens=3)
    reply = pipe.generate("Hello", max_new_tokens=3, observer=tap)
    assert reply.tokens == expected.tokens
    assert [seen.step for seen in tap.seen] == [0, 1, 2]


def test_an_observer_of_ones_own_needs_only_what_it_looks_at(pipe):
    class Norms(triptych.Observer):
        ports = ("logits",)

        def __init__(self):
            self.norms = []

        def saw(self, moment, written):
            self.norms += [float(np.linalg.norm(value)) for value in written.values()]

    norms = Norms()
    pipe.generate("1 2", max_new_tokens=4, observer=norms)
    assert len(norms.norms) == 4


def test_a_later_request_does_not_see_what_was_stood_in_for(pipe):
    class Zeros(triptych.Observer):
        stands_in = True

        def instead(self, moment):
            if moment.writer != "local/embed":
                return None
            return {"inputs_embeds": np.zeros((1, len(moment.tokens), fakes.HIDDEN))}

    expected = pipe.generate("1 2 3", max_new_tokens=6, seed=0).tokens
    changed = pipe.generate("1 2 3", max_new_tokens=6, seed=0, observer=Zeros()).tokens
    assert changed != expected
    assert pipe.generate("1 2 3", max_new_tokens=6, seed=0).tokens == expected


# A trace


def test_a_trace_has_every_call_in_its_order_and_time(pipe):
    trace = Trace()
    reply = pipe.generate("1 2 3", images=IMAGES, max_new_tokens=3, observer=trace)
    names = [(event.step, event.writer) for event in trace.events if event.seconds is not None]
    assert names == [
        *[(0, name) for name in ("local/vision", "mrope", "local/embed", "merge", "local/decode")],
        *[(step, name) for step in (1, 2) for name in ("mrope", "local/embed", "local/decode")],
    ]
    begins = [event.begin for event in trace.events]
    assert begins == sorted(begins)
    assert sum(event.seconds or 0 for event in trace.events) < trace.seconds
    assert (trace.prompt_tokens, trace.new_tokens) == (9, len(reply.tokens))
    decode = trace.rows(prompt=False)[-1]
    assert (decode.writer, decode.calls) == ("local/decode", 2)
    (logits,) = decode.handed
    assert (str(logits), logits.bytes) == ("float64 [1, 1, 32]", 256)


def test_a_chrome_trace_has_complete_events_in_microseconds(pipe):
    trace = Trace()
    pipe.generate("1 2 3", max_new_tokens=2, observer=trace)
    events = json.loads(json.dumps(trace.chrome()))["traceEvents"]
    runs = [event for event in events if event["ph"] == "X"]
    assert len(runs) == 6
    for event in runs:
        assert event["dur"] > 0
        assert event["args"]["bytes"] > 0
    assert {event["args"]["name"] for event in events if event["ph"] == "M"} == {"INPUT", "SPAN"}
    last = runs[-1]
    assert last["ts"] + last["dur"] < trace.seconds * 1e6


def test_a_tap_keeps_no_beam_that_was_dropped(load):
    pipe = load("strategy: {beam_search: {width: 3}}\nsampler: [greedy]\n")
    sequences = weakref.WeakSet()

    class Beams(Tap):
        def saw(self, moment, written):
            super().saw(moment, written)
            sequences.add(moment.sequence)

    tap = Beams(["logits"])
    pipe.generate("1 2", max_new_tokens=12, observer=tap)
    gc.collect()
    assert len({seen.step for seen in tap.seen}) > 2
    assert len(sequences) <= 3

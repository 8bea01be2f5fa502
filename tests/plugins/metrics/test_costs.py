"""What an answer cost: times, memory, visual tokens."""

from dataclasses import replace

import numpy as np
import pytest

from triptych import Answer, Item, Request
from triptych.core.reply import Timings, Usage
from triptych.plugins.metrics import peak_memory
from triptych.plugins.metrics.peak_memory import PeakMemory
from triptych.plugins.metrics.speed import TimeToFirstToken, TokensPerSecond
from triptych.plugins.metrics.visual_tokens import VisualTokens
from triptych.testing import reply

ITEM = Item("one", Request("?"), "red")


def took(reason, **seconds):
    usage = Usage(prompt_tokens=8, image_tokens=0, completion_tokens=9)
    said = reply("red")
    return Answer(replace(said, finish_reason=reason, usage=usage, timings=Timings(**seconds)))


def test_speed_is_tokens_over_all_seconds_but_those_of_loading():
    seconds = {"load": 100.0, "vision": 0.25, "prefill": 0.25, "decode": 1.5}
    found = TokensPerSecond()(ITEM, took("eos", **seconds))
    assert found == {"tokens_per_second": 10 / 2.0, "answer_seconds": 2.0}
    assert TokensPerSecond()(ITEM, took("length", **seconds))["tokens_per_second"] == 9 / 2.0


def test_the_first_token_waits_for_the_picture_and_the_question():
    said = took("eos", load=100.0, vision=0.25, prefill=0.5, decode=1.5)
    assert TimeToFirstToken()(ITEM, said) == {"time_to_first_token": 0.75}


def test_a_clock_that_stood_still_divides_nothing_by_zero():
    said = took("length", load=0.0, vision=0.0, prefill=0.0, decode=0.0)
    assert TokensPerSecond()(ITEM, said)["tokens_per_second"] > 0


def test_visual_tokens_are_those_that_were_kept():
    said = reply("red")
    usage = replace(said.usage, image_tokens=20, image_tokens_kept=5)
    found = VisualTokens()(ITEM, Answer(replace(said, usage=usage)))
    assert found == {"visual_tokens": 5, "visual_share": 0.25}
    assert VisualTokens()(ITEM, Answer(said)) == {"visual_tokens": 0, "visual_share": 1}


@pytest.mark.skipif(not peak_memory._CLEAR.exists(), reason="this kernel forgets no peak")
def test_memory_is_the_peak_of_one_answer():
    metric = PeakMemory()
    (before,) = metric(ITEM, took("eos", load=0, vision=0, prefill=0, decode=0)).values()
    block = np.ones(64 << 17)
    del block
    (high,) = metric(ITEM, took("eos", load=0, vision=0, prefill=0, decode=0)).values()
    (after,) = metric(ITEM, took("eos", load=0, vision=0, prefill=0, decode=0)).values()
    assert 60 < high - before < 80, "64 MiB were written to and given back"
    assert after < high - 50


def test_memory_without_a_kernel_that_says_more_is_the_largest_so_far(monkeypatch, tmp_path):
    monkeypatch.setattr(peak_memory, "_STATUS", tmp_path / "none")
    monkeypatch.setattr(peak_memory, "_CLEAR", tmp_path / "no" / "such")
    metric = PeakMemory()
    scores = [metric(ITEM, Answer(reply("red")))["peak_memory_mib"] for _ in range(2)]
    assert 10 < scores[0] <= scores[1] < 100_000

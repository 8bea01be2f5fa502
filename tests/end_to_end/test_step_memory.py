"""A step takes no memory that grows with what came before it."""

import threading
import tracemalloc

import numpy as np
import pytest

import triptych
from triptych.core.prompt import Prompt

STEPS = 8


SAMPLED = [{"min_new_tokens": STEPS}, {"temperature": 1.0}, {"top_p": 0.9}, "draw"]


@pytest.fixture(scope="module")
def pipe():
    loaded = triptych.load()
    # What loading still does in threads of its own takes memory, too.
    for thread in threading.enumerate():
        if thread is not threading.current_thread():
            thread.join(5)
    return loaded


def peak(pipe, context, **settings):
    """Bytes that the largest of some steps after `context` tokens takes for its own time."""
    prompt = Prompt(np.resize(np.arange(1, 100), context))
    sequence = pipe.sequence()
    peaks = []
    for _ in range(2):
        # The second time all but the last token is there, and every buffer has its size.
        stream = pipe.begin(prompt, {"max_new_tokens": STEPS, **settings}, sequence=sequence)
        job, scheduler = stream._job, stream._scheduler
        peaks.clear()
        while not job.done:
            job.generation.pieces.clear()
            tracemalloc.start()
            scheduler.advance(job)
            _, most = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            peaks.append(most)
        stream.close()
    sequence.close()
    return max(peaks[1:-1])


@pytest.mark.parametrize("settings", [{"no_sample": True}, {"sampler": SAMPLED, "seed": 0}])
def test_steps_after_many_tokens_take_no_more_memory_than_after_few(pipe, settings):
    few = peak(pipe, 100, **settings)
    many = peak(pipe, 1900, **settings)
    # A copy of the mask alone would take 15,200 bytes.
    assert many < few + 1900

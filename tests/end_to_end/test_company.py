"""The built-in model in fp32 and int4: the same tokens alone and in company."""

import random
from pathlib import Path

import pytest

import triptych
from tests.end_to_end.test_threads import THREADS, assert_all_given_back, together
from triptych import Request
from triptych.export import export_checkpoint

ROOT = Path(__file__).parents[2]
PICTURES = sorted((ROOT / "examples" / "images").glob("*.png"))[:3]
TEXTS = ("Describe this image.", "What is at the top left?", "How many shapes are there?", "Hi")
REQUESTS = [
    Request(
        TEXTS[number % len(TEXTS)],
        images=[PICTURES[number % len(PICTURES)]] if number % 4 != 3 else [],
        settings={
            "seed": number,
            "max_new_tokens": 12 + number,
            # Replies of this model are short, and some should outlast others by far.
            "sampler": [
                {"min_new_tokens": 6 + number},
                *([{"temperature": 1.5}, "draw"] if number % 2 else ["greedy"]),
            ],
        },
    )
    for number in range(10)
]


def load(folder, **session):
    """Without prefixes of earlier requests, which caches of integers do not leave exact."""
    overrides = {"session.prefix_cache": False, **{f"session.{k}": v for k, v in session.items()}}
    return triptych.load(folder, overrides=overrides)


@pytest.fixture(scope="module", params=["fp32", "int4"])
def folder(request, tmp_path_factory):
    """The model as it ships, computed in fp32; and its int4 export, at accuracy_level 4."""
    if request.param == "fp32":
        return "sketch"
    made = tmp_path_factory.mktemp("int4") / "sketch"
    return export_checkpoint(ROOT / "checkpoints" / "sketch", made, precision="int4")


@pytest.fixture(scope="module")
def alone(folder):
    pipe = load(folder)
    said = [pipe.generate(request).tokens for request in REQUESTS]
    assert len({tokens[:4] for tokens in said}) > 3, "or little is proved"
    return said


@pytest.mark.parametrize("chunk", [None, 7])
def test_a_batch_gets_the_tokens_of_each_alone(folder, alone, chunk):
    pipe = load(folder, chunk=chunk, max_batch=4)
    if not pipe._executor.exact:
        # Chunks change tokens here, and company does not.
        sliced = load(folder, chunk=chunk)
        alone = [sliced.generate(request).tokens for request in REQUESTS]
    assert pipe._executor.alone_because is None
    rows = []
    step = pipe._executor.step

    def watched(sequences, clocks):
        rows.append(len(sequences))
        return step(sequences, clocks)

    pipe._executor.step = watched
    assert [reply.tokens for reply in pipe.generate_batch(REQUESTS)] == alone
    assert max(rows) == 4


def test_threads_that_come_and_go_get_the_tokens_of_each_alone(folder, alone):
    pipe = load(folder, max_batch=5)

    def work(number):
        dice = random.Random(number)
        for _ in range(3):
            pick = dice.randrange(len(REQUESTS))
            with pipe.stream(REQUESTS[pick]) as stream:
                if dice.random() < 0.3:
                    next(stream)
                    stream.cancel()
                said = stream.reply.tokens
            assert said == alone[pick][: len(said)]
            assert said == alone[pick] or stream.reply.finish_reason == "cancelled"

    together(work)
    assert pipe._scheduler._live == []
    assert THREADS > 5, "some wait in the queue"
    assert_all_given_back(pipe, [])

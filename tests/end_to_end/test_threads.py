"""One loaded pipeline, used from several threads at once."""

import random
import threading
from collections import deque

import numpy as np
import pytest

import triptych
from tests.fakes import watch_slots
from triptych import InputError, Request

IMAGES = [[], [(4, 4, 1)], [(4, 14, 2), (6, 6, 3)], [(4, 4, 1), (4, 4, 1), (12, 2, 4)]]
REQUESTS = [
    Request(
        " ".join(str((3 * number + place) % 60) for place in range(1 + number % 5)),
        images=IMAGES[number % len(IMAGES)],
        settings={"seed": number, "max_new_tokens": 6 + number % 9}
        | ({"temperature": 0.9} if number % 2 else {}),
    )
    for number in range(12)
]
THREADS = 8
SECONDS = 240


def together(work):
    """Run `work(number)` in as many threads, begun at once; raises what one of them raised."""
    barrier = threading.Barrier(THREADS)
    faults = []

    def run(number):
        try:
            barrier.wait(SECONDS)
            work(number)
        except BaseException as fault:  # noqa: BLE001 - raised below
            faults.append(fault)

    threads = [threading.Thread(target=run, args=[number]) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS)
    assert not any(thread.is_alive() for thread in threads), "a deadlock"
    if faults:
        raise faults[0]


def assert_all_given_back(pipe, slots):
    """Whether no slot is held but those that are kept for later requests."""
    pipe._prefixes.clear()
    assert all(slot.closed for slot in slots)


@pytest.fixture(scope="module")
def alone(models):
    """The tokens of each request when nothing else runs."""
    pipe = models("untied, one kv head").load()
    return [pipe.generate(request).tokens for request in REQUESTS]


def test_eight_threads_get_the_tokens_that_each_gets_alone(untied, alone):
    pipe = untied.load(overrides={"session.chunk": 5})
    slots = watch_slots(pipe)

    def work(number):
        dice = random.Random(number)
        for _ in range(6):
            pick = dice.randrange(len(REQUESTS))
            request, expected = REQUESTS[pick], alone[pick]
            match dice.randrange(6):
                case 0:
                    stream = pipe.stream(request)
                    for count, piece in enumerate(stream):
                        assert piece.tokens == expected[count : count + 1]
                        if count == 2:
                            break
                case 1:
                    with pipe.stream(request) as stream:
                        next(stream)
                        stream.cancel()
                        said = stream.reply.tokens
                    assert said == expected[: len(said)]
                case 2:
                    batch = pipe.generate_batch([request, request], concurrency=2)
                    assert [reply.tokens for reply in batch] == [expected, expected]
                case 3:
                    stream = pipe.stream(request)
                    assert sum((piece.tokens for piece in stream), ()) == expected
                case _:
                    assert pipe.generate(request).tokens == expected

    together(work)
    assert pipe._scheduler._waiting == deque()
    pipe.generate("1")
    assert_all_given_back(pipe, slots)
    assert pipe._scheduler._live == []
    # Never more rows than there were generations in progress, and as many for later requests.
    assert len({slot.place for slot in slots}) <= 2 * 8


def test_scores_ports_and_chats_go_on_beside_each_other(untied, alone):
    pipe = untied.load()
    slots = watch_slots(pipe)
    quiet = untied.pipe
    score = quiet.score(REQUESTS[1], [1, 2, 3]).logprobs
    features = quiet.run_until("image_features", REQUESTS[2])
    lonely = quiet.chat(max_new_tokens=5)
    turns = [lonely.send("1 2", images=[(4, 4, 1)]).tokens, lonely.send("3").tokens]

    def work(number):
        for _ in range(3):
            match number % 4:
                case 0:
                    found = pipe.score(REQUESTS[1], [1, 2, 3]).logprobs
                    np.testing.assert_allclose(found, score, atol=1e-5)
                case 1:
                    found = pipe.run_until("image_features", REQUESTS[2])
                    np.testing.assert_allclose(found, features, atol=1e-5)
                case 2:
                    chat = pipe.chat(max_new_tokens=5)
                    assert chat.send("1 2", images=[(4, 4, 1)]).tokens == turns[0]
                    assert chat.send("3").tokens == turns[1]
                    chat.clear()
                case _:
                    assert pipe.generate(REQUESTS[3]).tokens == alone[3]

    together(work)
    assert_all_given_back(pipe, slots)


def test_requests_that_fail_do_so_in_their_own_thread(untied, alone):
    pipe = untied.load()
    slots = watch_slots(pipe)

    def work(number):
        for pick in range(4):
            if number % 2:
                with pytest.raises(InputError, match="the image is truncated"):
                    pipe.generate("1", images=[(4, 4, -1)])
            else:
                assert pipe.generate(REQUESTS[pick]).tokens == alone[pick]

    together(work)
    assert_all_given_back(pipe, slots)


def test_a_stream_may_be_begun_in_one_thread_and_read_in_another(untied, alone):
    pipe = untied.load()
    streams = [pipe.stream(request) for request in REQUESTS[:THREADS]]
    together(lambda number: checked(streams[-1 - number].reply.tokens, alone[THREADS - 1 - number]))


def checked(tokens, expected):
    assert tokens == expected


def test_pictures_and_texts_are_processed_in_several_threads(tiny_pipeline, picture):
    pipe = triptych.load(tiny_pipeline)
    asks = [("What is it?", [picture]), ("And now?", []), ("Both", [picture, picture])]
    alone = [pipe.generate(text, images=images).text for text, images in asks]
    assert len(set(alone)) == 3

    def work(number):
        for place in range(3):
            text, images = asks[(number + place) % 3]
            assert pipe.generate(text, images=images).text == alone[(number + place) % 3]

    together(work)

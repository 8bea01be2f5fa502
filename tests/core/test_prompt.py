"""Media compute their ports once, on demand, and move with their tokens."""

import numpy as np

from triptych.core.prompt import Media, Prompt, digest_of


def counted(at):
    calls = []

    def compute():
        calls.append(1)
        return {"pixel_values": np.zeros(3)}

    return Media("image", "d", np.array(at), compute), calls


def test_ports_are_computed_on_first_use_and_once():
    media, calls = counted([1, 2])
    assert calls == []
    assert media.ports is media.ports
    assert calls == [1]


def test_moved_media_share_what_was_computed():
    media, calls = counted([1, 2])
    moved = media.moved(5).moved(-1)
    assert moved.at.tolist() == [5, 6]
    assert media.at.tolist() == [1, 2]
    assert moved.ports["pixel_values"] is media.ports["pixel_values"]
    assert calls == [1]


def test_image_tokens_are_counted_over_all_media():
    media, _ = counted([1, 2])
    other, _ = counted([5])
    assert Prompt(np.arange(9), (media, other)).image_tokens == 3
    assert Prompt(np.arange(9)).image_tokens == 0


def test_digests_tell_parts_and_their_borders_apart():
    assert digest_of("ab", b"c") == digest_of(b"ab", "c")
    assert len({digest_of("ab", "c"), digest_of("a", "bc"), digest_of("abc"), digest_of("")}) == 4
    assert digest_of(1, 2) == digest_of("1", "2")

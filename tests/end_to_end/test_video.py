"""Videos through a whole Qwen3-VL give what transformers gives, from equal pixels."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from tests import fakes
from triptych import Request

STEPS = 16
TOLERANCE = 2e-4
NAMES = ("untied, one kv head", "DeepStack on every layer")


@pytest.fixture(scope="session")
def video_models(tmp_path_factory):
    """Gives the VideoModel of a shape's name."""
    from functools import cache

    from tests.end_to_end.videos import VideoModel

    return cache(lambda name: VideoModel(name, tmp_path_factory.mktemp("video")))


@pytest.fixture(params=NAMES)
def model(request, video_models):
    return video_models(request.param)


@pytest.fixture
def one(video_models):
    return video_models(NAMES[0])


def clip(count, width, height, seed=0):
    rng = np.random.default_rng([count, width, height, seed])
    return [
        Image.fromarray(rng.integers(0, 256, (height, width, 3), np.uint8)) for _ in range(count)
    ]


def picture(seed=0):
    return clip(1, 96, 64, seed)[0]


def video(frames, **more):
    return {"type": "video", "video": frames, **more}


def said(words):
    return {"type": "text", "text": words}


def asked(*parts):
    return {"role": "user", "content": list(parts)}


PAIR, ODD, WIDE = clip(2, 64, 64), clip(5, 64, 96), clip(4, 96, 32)
REQUESTS = {
    "two frames": Request("What?", videos=[PAIR]),
    "an odd number": Request("What moves?", videos=[ODD]),
    "two videos": Request("Which?", videos=[ODD, WIDE]),
    "a video beside a picture": Request("Where?", images=[picture()], videos=[WIDE]),
    "all mixed": Request(
        messages=[
            {"role": "system", "content": "Look."},
            asked(
                said("First "),
                video(WIDE, fps=1),
                said(" and "),
                {"type": "image", "image": picture(1)},
                video(ODD, fps=8.5),
                said(" now?"),
            ),
        ]
    ),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_greedy_tokens_are_those_of_transformers(model, name):
    reply = model.pipe.generate(REQUESTS[name], no_sample=True, max_new_tokens=STEPS)
    assert reply.tokens == model.greedy(REQUESTS[name], STEPS)


def test_replies_vary_enough_to_prove_something(video_models):
    for name in NAMES:
        pipe = video_models(name).pipe
        replies = [
            pipe.generate(request, no_sample=True, max_new_tokens=STEPS)
            for request in REQUESTS.values()
        ]
        assert len({reply.tokens for reply in replies}) == len(REQUESTS)


@pytest.mark.parametrize("name", REQUESTS)
@pytest.mark.parametrize("shape", [*NAMES, "as many kv heads, biased"])
def test_features_and_positions_are_those_of_transformers(video_models, shape, name):
    import torch

    model = video_models(shape)
    request = REQUESTS[name]
    inputs = model.inputs(request)
    prompt = model.pipe.processor.prompt(request)
    # By kind: what transformers makes of all clips, one after the other.
    inner = model.model.model
    with torch.no_grad():
        made = {
            "video": inner.get_video_features(
                inputs["pixel_values_videos"], inputs["video_grid_thw"]
            )
        }
        if "pixel_values" in inputs:
            made["image"] = inner.get_image_features(
                inputs["pixel_values"], inputs["image_grid_thw"]
            )
    parts = {kind: iter(out.pooler_output) for kind, out in made.items()}
    features = np.concatenate([next(parts[item.kind]).numpy() for item in prompt.media])
    layers = {kind: iter(zip(*out.deepstack_features, strict=True)) for kind, out in made.items()}
    deepstack = np.concatenate(
        [np.stack([layer.numpy() for layer in next(layers[item.kind])]) for item in prompt.media],
        axis=1,
    )
    run = model.pipe.run_until
    np.testing.assert_allclose(run("image_features", request), features, atol=TOLERANCE)
    np.testing.assert_allclose(run("deepstack_features", request), deepstack, atol=TOLERANCE)

    positions, delta = inner.get_rope_index(
        inputs["input_ids"],
        inputs["mm_token_type_ids"],
        inputs.get("image_grid_thw"),
        inputs["video_grid_thw"],
    )
    np.testing.assert_array_equal(run("position_ids", request), positions[:, 0].numpy())
    following = run("next_position", request)
    assert following[-1] == int(delta) + len(prompt.tokens)


def test_frames_do_not_see_each_other(one):
    """As in transformers: the rows of a pair of frames depend on that pair alone."""
    other = [*ODD[:2], *clip(3, 64, 96, seed=9)]
    features = [
        one.pipe.run_until("image_features", Request("a", videos=[frames]))
        for frames in (ODD, other)
    ]
    np.testing.assert_array_equal(features[0][:6], features[1][:6])
    assert np.abs(features[0][6:] - features[1][6:]).max() > 0.1


@pytest.mark.parametrize("chunk", [1, 7])
def test_slices_that_cut_clips_give_the_tokens_of_one_pass(one, chunk):
    pipe = one.load(overrides={"session.chunk": chunk})
    for request in REQUESTS.values():
        whole = one.pipe.generate(request, no_sample=True, max_new_tokens=8)
        assert pipe.generate(request, no_sample=True, max_new_tokens=8).tokens == whole.tokens


def test_what_is_counted(one):
    reply = one.pipe.generate(REQUESTS["a video beside a picture"], max_new_tokens=1)
    # A picture of 2 x 3 merged rows, and two steps of 1 x 3.
    assert reply.usage.image_tokens == 6 + 2 * 3
    request = REQUESTS["two frames"]
    shown = one.pipe.count_tokens(request)
    assert shown == one.pipe.count_tokens("What?", videos=[PAIR])
    # Two brackets of the template's, the time and two brackets of the step's, and four rows.
    around = len("<0.2 seconds>") + 4
    assert shown == one.pipe.count_tokens("What?") + around + 4


# Conversations


def test_every_turn_of_a_chat_about_videos_equals_a_fresh_run_and_transformers(model):
    settings = {"no_sample": True, "max_new_tokens": 12}
    chat = model.pipe.chat(**settings)
    for words, images, videos in [
        ("What?", [], [ODD]),
        ("And then?", [], []),
        ("Compare.", [picture()], [PAIR, ODD]),
        ("Why?", [], []),
    ]:
        parts = [{"type": "image", "image": image} for image in images]
        parts += [video(frames) for frames in videos]
        messages = [
            *chat.messages,
            asked(*parts, said(words)) if parts else {"role": "user", "content": words},
        ]
        reply = chat.send(words, images=images, videos=videos)
        request = Request(messages=messages)
        assert reply.tokens == model.pipe.generate(request, **settings).tokens
        assert reply.tokens == model.greedy(request, 12)


def test_a_clip_that_begins_the_same_is_forwarded_whole(one):
    """Its first steps and their times are equal, but a cut within a clip would split its rows."""
    settings = {"no_sample": True, "max_new_tokens": 6}
    first = asked(video(ODD, fps=1), said("What?"))
    end = [*ODD[:4], picture(3).resize((64, 96))]
    for edited in (video(end, fps=1), video(ODD, fps=0.98)):
        chat = one.pipe.chat(**settings)
        chat.messages = [first, {"role": "assistant", "content": "No."}]
        chat.send("So?")
        chat.messages = [asked(edited, said("What?")), *chat.messages[1:-2]]
        before, after = (
            one.pipe.processor.prompt(Request(messages=[message, *chat.messages[1:]]))
            for message in (first, chat.messages[0])
        )
        begin = after.media[0].at[0]
        same = before.tokens == after.tokens
        assert same.all() or np.argmin(same) > begin + 6, "the first step and its time are equal"
        assert chat._sequence.align(after) == begin
        reply = chat.send("So?")
        request = Request(messages=chat.messages[:-1])
        assert reply.tokens == one.pipe.generate(request, **settings).tokens


def test_equal_frames_are_encoded_once_whenever_they_are_shown(one, monkeypatch):
    pipe = one.load()
    features = pipe._executor.features
    kept = []
    put = features.put
    monkeypatch.setattr(
        features,
        "put",
        lambda label, digest, ports: (kept.append(digest), put(label, digest, ports)),
    )
    for fps in (1, 2, 4):
        messages = [asked(video(PAIR, fps=fps), said("What?"))]
        pipe.generate(messages=messages, max_new_tokens=1)
    assert len(kept) == 1
    pipe.generate("What?", videos=[PAIR[::-1]], max_new_tokens=1)
    assert len(kept) == 2


def test_pruned_clips_are_the_same_in_any_slices(one):
    changes = {"plugins": [fakes.__file__], "insert": "after mrope: local/every_third"}
    request = REQUESTS["all mixed"]
    settings = {"no_sample": True, "max_new_tokens": 8}
    whole = one.load(**changes).generate(request, **settings)
    sliced = one.load(**changes, overrides={"session.chunk": 5}).generate(request, **settings)
    assert whole.tokens == sliced.tokens
    assert whole.tokens != one.pipe.generate(request, **settings).tokens


# From files


def test_a_folder_and_an_animation_are_the_list_of_their_frames(one, tmp_path):
    folder = tmp_path / "frames"
    folder.mkdir()
    for index, frame in enumerate(WIDE):
        frame.save(folder / f"{index}.png")
    moving = tmp_path / "moving.webp"
    WIDE[0].save(
        moving, save_all=True, append_images=WIDE[1:], duration=500, lossless=True, exact=True
    )
    replies = [
        one.pipe.generate("What?", videos=[source], no_sample=True, max_new_tokens=8)
        for source in (WIDE, folder, moving)
    ]
    assert len({reply.tokens for reply in replies}) == 1
    assert {reply.usage.image_tokens for reply in replies} == {6}

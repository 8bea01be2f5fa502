"""Whatever tool a folder is from: the same weights give the same logits and the same tokens."""

import numpy as np
import pytest

import triptych
from tests.layouts import rewired
from tests.layouts.conftest import IMAGES, MAKERS, SCENE
from triptych import Request

DESCRIBE = Request("Describe this image.", images=[SCENE])
CAPITAL = Request("What is the capital of France?")
ATOL = 1e-4
"""Of logits that are about 10: floats are added in another order where shapes differ."""


def greedy(pipe, request, **options):
    return pipe.generate(request, no_sample=True, **options)


def logits(pipe, request):
    return pipe.run_until("logits", request)[0, -1]


@pytest.mark.parametrize("name", MAKERS)
def test_a_picture_is_described_in_the_same_tokens(loaded, sketch, name):
    reply = greedy(loaded(name), DESCRIBE)
    assert reply.tokens == greedy(sketch, DESCRIBE).tokens
    assert reply.finish_reason == "eos"
    assert len(reply.tokens) > 10
    np.testing.assert_allclose(
        logits(loaded(name), DESCRIBE), logits(sketch, DESCRIBE), rtol=0, atol=ATOL
    )


@pytest.mark.parametrize("name", MAKERS)
def test_text_alone_is_answered_in_the_same_tokens(loaded, sketch, name):
    assert greedy(loaded(name), CAPITAL).tokens == greedy(sketch, CAPITAL).tokens
    np.testing.assert_allclose(
        logits(loaded(name), CAPITAL), logits(sketch, CAPITAL), rtol=0, atol=ATOL
    )


@pytest.mark.parametrize("name", MAKERS)
def test_a_prompt_may_be_cut_anywhere_and_several_rows_be_asked_for(folders, sketch, name):
    pipe = triptych.load(folders(name), overrides={"session.chunk": 5})
    assert greedy(pipe, DESCRIBE).tokens == greedy(sketch, DESCRIBE).tokens
    text = "a red circle"
    scores = [one.score(DESCRIBE, text).logprobs for one in (pipe, sketch)]
    np.testing.assert_allclose(*scores, rtol=0, atol=ATOL)


@pytest.mark.parametrize("name", ["community", "genai, own names"])
def test_a_chat_goes_on_with_what_its_growing_cache_holds(loaded, sketch, name):
    said = []
    for pipe in (loaded(name), sketch):
        chat = pipe.chat(no_sample=True)
        first = chat.send("What color is it?", images=[IMAGES / "circle.png"])
        second = chat.send("Describe this image.", images=[SCENE])
        said.append([first.tokens, second.tokens])
    assert said[0] == said[1]


def test_guessed_tokens_are_verified_in_one_pass(folders, sketch):
    pipe = triptych.load(
        folders("community"), overrides={"strategy": {"prompt_lookup": {"tokens": 3}}}
    )
    request = Request("Count from one to five.")
    assert greedy(pipe, request).tokens == greedy(sketch, request).tokens


def test_pictures_side_by_side_share_a_pipeline(loaded, sketch):
    requests = [
        Request("What shape is it?", images=[IMAGES / name])
        for name in ("circle.png", "stripes.png", "number.png")
    ]
    replies = [pipe.generate_batch(requests, no_sample=True) for pipe in (loaded("mobius"), sketch)]
    assert [reply.tokens for reply in replies[0]] == [reply.tokens for reply in replies[1]]


@pytest.mark.parametrize("form", ["shared", "growing"])
def test_either_form_of_the_cache_gives_the_same_tokens(folders, sketch, form):
    pipe = triptych.load(folders("genai"), overrides={"decoder.cache_form": form})
    assert greedy(pipe, DESCRIBE).tokens == greedy(sketch, DESCRIBE).tokens


def test_a_window_keeps_what_it_keeps_of_a_growing_cache(folders):
    window = {"decoder.cache": {"window": {"size": 24, "slack": 8}}, "session.chunk": 8}
    request = Request("Count from one to five.")
    replies = [
        greedy(triptych.load(source, overrides=window), request).tokens
        for source in (folders("community"), "sketch")
    ]
    assert replies[0] == replies[1]


def test_one_graph_from_ids_to_logits_is_a_pipeline_without_vision(folders, sketch):
    pipe = triptych.load(folders("text", rewired.text_only))
    assert [part.label for part in pipe.spec.stages] == ["positions", "decoder"]
    assert greedy(pipe, CAPITAL).tokens == greedy(sketch, CAPITAL).tokens
    with pytest.raises(triptych.InputError, match="takes no images"):
        pipe.generate(DESCRIBE)


def test_float16_ports_are_cast_where_they_meet_float32_ones(folders, tmp_path, sketch):
    half = folders("half", lambda folder: rewired.community(folder, kind=rewired.HALF))
    pipe = triptych.load(half)
    features = pipe.run_until("image_features", DESCRIBE)
    assert features.dtype == np.float16
    assert pipe.run_until("logits", DESCRIBE).dtype == np.float32
    assert greedy(pipe, CAPITAL).text == greedy(sketch, CAPITAL).text
    # A float16 encoder before a float32 decoder, as some folders have it.
    mixed = rewired.files(tmp_path / "mixed", rewired.HF_FILES)
    rewired.vision(mixed / "vision.onnx", kind=rewired.HALF)
    rewired.embeddings(mixed / "embeddings.onnx", kind=rewired.HALF)
    rewired.decoder(mixed / "decoder.onnx")
    pipe = triptych.load(mixed)
    found = pipe.run_until("image_features", DESCRIBE)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, features.astype(np.float32))
    assert greedy(pipe, CAPITAL).text == greedy(sketch, CAPITAL).text


def test_without_deepstack_a_folder_is_loaded_with_a_warning_and_answers_as_the_model_without_it(
    folders,
):
    folder = folders("lossy", rewired.genai)
    with pytest.warns(UserWarning, match="leaves DeepStack out.*answers about images differ"):
        pipe = triptych.load(folder)
    stripped = triptych.load(
        "sketch",
        replace={
            "vision_encoder": {
                "vision_encoder": "vision_encoder.onnx",
                "ignore": ["deepstack_features"],
            },
            "merge": {"merge": False},
        },
    )
    assert greedy(pipe, DESCRIBE).tokens == greedy(stripped, DESCRIBE).tokens
    assert greedy(pipe, DESCRIBE).tokens != greedy(triptych.load(), DESCRIBE).tokens


def test_a_folder_in_the_hugging_face_cache_is_made_of_links(folders, tmp_path, sketch):
    blobs = tmp_path / "models--them--model" / "blobs"
    snapshot = tmp_path / "models--them--model" / "snapshots" / "0a1b"
    blobs.mkdir(parents=True)
    for number, file in enumerate(sorted(folders("community").rglob("*.*"))):
        link = snapshot / file.relative_to(folders("community"))
        link.parent.mkdir(parents=True, exist_ok=True)
        (blobs / f"{number:064}").write_bytes(file.read_bytes())
        link.symlink_to(blobs / f"{number:064}")
    pipe = triptych.load(snapshot)
    assert greedy(pipe, CAPITAL).tokens == greedy(sketch, CAPITAL).tokens

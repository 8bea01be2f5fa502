"""A second pipeline drafts, and every token is that of plain decoding."""

import pytest

import triptych
from tests import fakes
from tests.fakes import watch_slots
from triptych import Request
from triptych.core.config.resolved import resolved
from triptych.core.config_error import ConfigError

IMAGE, OTHER = (4, 4, 1), (2, 6, 2)
SAMPLED = {"sampler": [{"temperature": 0.9}, "draw"]}
ASKED = [
    ("1 2 3", []),
    ("4 5 6 7 8 9 10 11", [IMAGE]),
    ("1", [IMAGE, OTHER]),
    ("9 8 7 6 5 4 3 2 1", []),
]
SMALL = {
    "the same model": "",
    "one that sees a third of each image": "stages: [local/vision, mrope, "
    "{local/every_third: 3, ports: {image_features: {dtype: float64}}}, "
    "local/embed, merge, local/decode]",
    "one without eyes": "stages: [mrope, local/embed, local/decode]",
    "one that forgets": "stages: [local/vision, mrope, local/embed, merge, "
    "{local/windowed: {cache: {window: {size: 4, sinks: 1, slack: 2}}}}]",
    "one of a short context": "session: {max_context: 20}",
}


@pytest.fixture
def pair(tmp_path):
    """Loads a pipeline with a `draft`; small: YAML of the drafting one; settings: of `draft`."""

    def pair(small="", settings="", extra=""):
        folder = tmp_path / "small"
        folder.mkdir(exist_ok=True)
        fakes.pipeline_file(folder, extra=small)
        strategy = f"strategy: {{draft: {{pipeline: small, tokens: 4{settings}}}}}\n"
        file = fakes.pipeline_file(tmp_path, extra=strategy + extra)
        return triptych.load(file, plugins=[fakes.__file__])

    return pair


def drafting(pipe):
    return pipe._strategy._pipeline


def slices(pipe):
    return pipe._executor.wiring.span[-1].stage.slices


@pytest.mark.parametrize("chain", [{}, SAMPLED], ids=["greedy", "sampled"])
@pytest.mark.parametrize("small", SMALL.values(), ids=SMALL.keys())
@pytest.mark.parametrize("cost", [0, 0.3])
def test_whatever_is_drafted_the_tokens_are_those_of_plain_decoding(
    pair, load, pipe, small, chain, cost
):
    drafted = pair(small, f", cost: {cost}")
    slots = watch_slots(drafting(drafted)) + watch_slots(drafted)
    for seed, (text, images) in enumerate(ASKED):
        settings = {**chain, "images": images, "seed": seed, "max_new_tokens": 30}
        reply = drafted.generate(text, **settings)
        assert reply.tokens == pipe.generate(text, **settings).tokens
    assert all(slot.closed for slot in slots)


@pytest.mark.parametrize("chain", [{}, SAMPLED], ids=["greedy", "sampled"])
def test_a_model_that_drafts_for_itself_is_always_right(pair, chain):
    drafted = pair("", ", cost: 0")
    for seed, (text, images) in enumerate(ASKED):
        del slices(drafted)[:]
        settings = {**chain, "images": images, "seed": seed, "max_new_tokens": 26}
        drafted.generate(text, **settings)
        # The prompt gives one token, and each pass over four drafted ones gives five.
        assert slices(drafted)[1:] == [5] * 5


def test_a_model_that_is_mostly_wrong_is_hardly_asked(pair):
    drafted = pair(SMALL["one that forgets"])
    drafted.generate("1 2 3", sampler=["draw"], seed=1, max_new_tokens=120)
    passes = slices(drafted)[1:]
    steps = sum(1 + 0.3 * (rows - 1) for rows in passes)
    assert steps < 120 / 0.95


def test_turns_of_a_chat_are_drafted(pair, pipe):
    drafted, plain = pair("", ", cost: 0").chat(), pipe.chat()
    for text, images in ASKED:
        assert drafted.send(text, images=images).tokens == plain.send(text, images=images).tokens
    assert 5 in slices(drafted.pipeline)


def test_several_requests_are_drafted_side_by_side(pair, pipe):
    drafted = pair("", ", cost: 0")
    requests = [Request(text, images=images) for text, images in ASKED]
    replies = drafted.generate_batch(requests, concurrency=2)
    assert [reply.tokens for reply in replies] == [pipe.generate(one).tokens for one in requests]
    assert 5 in slices(drafted)


def test_a_second_question_is_no_news_to_either_model(pair):
    drafted = pair("session: {prefix_cache: true}", ", cost: 0", "session: {prefix_cache: true}")
    text = " ".join(str(number % 9) for number in range(60))
    drafted.generate(f"{text} 7", images=[IMAGE])
    for pipe in (drafted, drafting(drafted)):
        del slices(pipe)[:]
    assert drafted.generate(f"{text} 8 8", images=[IMAGE]).usage.cached_tokens > 60
    assert slices(drafted)[0] == 2
    assert slices(drafting(drafted))[0] == 3, "and the token that the large one chose"


def test_another_vocabulary_is_refused_where_the_file_names_it(pair):
    with pytest.raises(ConfigError) as error:
        pair("processor: {local/numbers: {vocabulary: 40}}")
    assert "choose one of the same vocabulary" in str(error.value)
    assert "pipeline.yaml:" in str(error.value)


def test_a_pipeline_outside_of_the_folder_is_refused_as_any_file_is(tmp_path):
    folder = tmp_path / "large"
    folder.mkdir()
    fakes.pipeline_file(tmp_path)
    extra = "strategy: {draft: ../pipeline.yaml}"
    file = fakes.pipeline_file(folder, extra=extra)
    with pytest.raises(ConfigError, match="outside of the pipeline's folder"):
        triptych.load(file, plugins=[fakes.__file__])
    triptych.load(file, plugins=[fakes.__file__], allow_outside=True)
    missing = fakes.pipeline_file(folder, extra="strategy: {draft: none}")
    with pytest.raises(ConfigError, match="there is no file 'none'"):
        triptych.load(missing, plugins=[fakes.__file__])


def test_the_resolved_file_names_the_second_pipeline(pair):
    text = resolved(pair().spec)
    assert "pipeline: small" in text
    assert "small/pipeline.yaml" in text, "with its digest"

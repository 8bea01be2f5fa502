"""A loaded pipeline: requests, settings, batches, scores and single ports."""

import numpy as np
import pytest

import triptych
from tests import fakes
from tests.fakes import FakePipeline, watch_slots
from triptych import ConfigError, InputError, PluginError, Request
from triptych.core.reply import Reply

IMAGES = [(4, 4, 1), (2, 6, 2)]


def fresh_logits(text, images=(), *, tail=0):
    return FakePipeline().logits(text, images, tail=tail)


def greedy(text, images=(), *, count=12):
    """What greedy decoding gives, by a fresh run for every token."""
    tokens = []
    for _ in range(count):
        said = " ".join([text, *map(str, tokens)])
        tokens.append(int(fresh_logits(said, images)[-1].argmax()))
    return tuple(tokens)


# Replies


def test_a_reply_says_what_was_generated_and_what_it_took(pipe):
    reply = pipe.generate("1 2 3", images=IMAGES, seed=5)
    assert reply.tokens == greedy("1 2 3", IMAGES)
    assert reply.text == "".join(f"{token} " for token in reply.tokens if token != 31)
    assert (reply.finish_reason, reply.seed, reply.id) == ("length", 5, None)
    usage = reply.usage
    assert (usage.prompt_tokens, usage.image_tokens, usage.completion_tokens) == (14, 7, 12)
    timings = reply.timings
    assert min(timings.load, timings.vision, timings.prefill, timings.decode) > 0


def test_a_reply_as_json_has_the_fields_that_are_promised(pipe):
    reply = pipe.generate(Request("1 2 3", id="a7"), seed=1, max_new_tokens=2).to_dict()
    assert list(reply) == ["text", "tokens", "finish_reason", "usage", "timings", "seed", "id"]
    assert list(reply["usage"]) == [
        "prompt_tokens",
        "image_tokens",
        "completion_tokens",
        "cached_tokens",
        "image_tokens_kept",
    ]
    assert list(reply["timings"]) == ["load", "vision", "prefill", "decode"]
    assert reply["id"] == "a7"
    assert isinstance(reply["tokens"], list)
    assert "id" not in pipe.generate("1 2 3").to_dict()


def test_streamed_pieces_add_up_to_the_reply(pipe):
    stream = pipe.stream("1 2 3")
    pieces = list(stream)
    reply = stream.reply
    assert "".join(piece.text for piece in pieces) == reply.text
    assert sum((piece.tokens for piece in pieces), ()) == reply.tokens
    assert len(pieces) == 12


def test_what_a_request_says_may_be_said_by_keywords(pipe):
    expected = pipe.generate("1 2 3", images=IMAGES).tokens
    assert pipe.generate(Request("1 2 3", images=IMAGES)).tokens == expected
    message = {"role": "user", "content": "1 2 3"}
    said = pipe.generate(messages=[message], max_new_tokens=3)
    assert said.usage.prompt_tokens == 6
    assert pipe.generate(Request(messages=[message]), max_new_tokens=3).tokens == said.tokens


def test_settings_hold_for_one_call(pipe):
    usual = pipe.generate("1 2 3")
    assert len(pipe.generate("1 2 3", max_new_tokens=4).tokens) == 4
    assert len(pipe.generate(Request("1 2 3", settings={"max_new_tokens": 5})).tokens) == 5
    both = Request("1 2 3", settings={"max_new_tokens": 5})
    assert len(pipe.generate(both, max_new_tokens=6).tokens) == 6
    assert pipe.generate("1 2 3").tokens == usual.tokens


def test_a_seed_gives_the_same_tokens_every_time_and_another_gives_others(pipe):
    drawn = [pipe.generate("1 2 3", temperature=1.5, seed=seed).tokens for seed in (3, 3, 4)]
    assert drawn[0] == drawn[1] != drawn[2]
    chance = pipe.generate("1 2 3", temperature=1.5)
    assert pipe.generate("1 2 3", temperature=1.5, seed=chance.seed).tokens == chance.tokens
    assert pipe.generate("1 2 3", seed=np.int64(3)).seed == 3


def test_a_chain_may_be_given_for_one_call(pipe):
    chained = pipe.generate("1 2 3", sampler=[{"temperature": 1.5}, "draw"], seed=3)
    assert chained.tokens == pipe.generate("1 2 3", temperature=1.5, seed=3).tokens
    assert pipe.generate("1 2 3", no_sample=True).tokens == pipe.generate("1 2 3").tokens


def test_stop_strings_end_a_reply(pipe):
    usual = pipe.generate("1 2 3")
    words = usual.text.split()
    stop = f"{words[2]} {words[3]}"
    reply = pipe.generate("1 2 3", stop=stop)
    assert (reply.text, reply.finish_reason) == (usual.text.split(stop)[0], "stop")
    assert reply.tokens == usual.tokens[:4]
    assert pipe.generate("1 2 3", stop=["nothing", stop]).text == reply.text
    assert pipe.generate("1 2 3", stop=[]).text == usual.text


def test_stop_strings_of_the_file_hold_unless_the_call_has_its_own(load):
    words = load().generate("1 2 3").text.split()
    pipe = load(f"stop: {{max_new_tokens: 12, strings: ['{words[2]}']}}")
    assert pipe.generate("1 2 3").finish_reason == "stop"
    assert pipe.generate("1 2 3", stop=()).finish_reason == "length"


def test_an_end_token_ends_a_reply_and_is_not_counted(load):
    tokens = load().generate("1 2 3").tokens
    pipe = load(f"processor: {{local/numbers: {{ends: [{tokens[5]}]}}}}")
    reply = pipe.generate("1 2 3")
    assert reply.tokens == tokens[: tokens.index(tokens[5])]
    assert reply.finish_reason == "eos"
    assert reply.usage.completion_tokens == len(reply.tokens)


def test_a_reply_ends_where_the_context_does(load):
    pipe = load("session: {max_context: 8}")
    reply = pipe.generate("1 2 3")
    assert (len(reply.tokens), reply.finish_reason) == (5, "length")
    assert len(pipe.generate("1 2 3 4 5 6 7").tokens) == 1


@pytest.mark.parametrize("chunk", [1, 3, 7])
def test_the_size_of_a_slice_comes_from_the_file(load, chunk):
    pipe = load(f"session: {{chunk: {chunk}}}")
    assert pipe.generate("1 2 3", images=IMAGES).tokens == greedy("1 2 3", IMAGES)
    decode = pipe._executor.wiring.span[-1].stage
    assert max(decode.slices) == chunk


# What is refused


def refusal(pipe, *args, **options):
    with pytest.raises(InputError) as error:
        pipe.generate(*args, **options)
    return str(error.value)


def test_what_is_no_setting_is_refused_with_the_nearest(pipe):
    known = "max_new_tokens, temperature, top_k, top_p, no_sample, sampler, seed, stop, logprobs"
    assert refusal(pipe, "1", max_tokens=3) == (
        f"there is no setting 'max_tokens'; did you mean 'max_new_tokens'? (settings: {known})"
    )
    assert refusal(pipe, Request("1", settings={"xyzzy": 1})) == (
        f"there is no setting 'xyzzy' (settings: {known})"
    )
    with pytest.raises(InputError, match="there is no setting 'colour'"):
        pipe.chat(colour="red").send("1")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"seed": -1}, "seed is -1; it must be a whole number of at least 0"),
        ({"seed": 1.5}, "seed is 1.5; it must be a whole number of at least 0"),
        ({"seed": True}, "seed is True; it must be a whole number of at least 0"),
        ({"seed": "7"}, "seed is '7'; it must be a whole number of at least 0"),
        ({"max_new_tokens": 0}, "max_new_tokens is 0; it must be a whole number of at least 1"),
        ({"no_sample": "no"}, "no_sample is 'no'; it must be true or false"),
        ({"stop": ""}, "stop is ''; it must be a text, or a list of texts, none empty"),
        (
            {"stop": ["a", ""]},
            "stop is ['a', '']; it must be a text, or a list of texts, none empty",
        ),
        ({"stop": 5}, "stop is 5; it must be a text, or a list of texts, none empty"),
        ({"stop": [5]}, "stop is [5]; it must be a text, or a list of texts, none empty"),
    ],
)
def test_settings_that_make_no_sense_are_refused(pipe, settings, message):
    assert refusal(pipe, "1", **settings) == message


def test_sampling_settings_are_checked_like_those_of_the_file(pipe):
    with pytest.raises(ConfigError, match="top_p"):
        pipe.generate("1", top_p=2)
    with pytest.raises(ConfigError, match="no_sample"):
        pipe.generate("1", no_sample=True, top_k=3)


def test_a_prompt_that_is_too_long_says_by_how_much(load):
    pipe = load("session: {max_context: 8}")
    assert refusal(pipe, "1 2 3", images=[(4, 4)]) == (
        "the prompt has 9 tokens (4 of them for images and videos), but there is room for 7 before "
        "the first new one; shorten it, or raise session.max_context"
    )
    assert pipe.processor.computed == []
    with pytest.raises(InputError, match="the prompt has 9 tokens"):
        pipe.score("1 2 3", "4", images=[(4, 4)])
    with pytest.raises(InputError, match="the prompt has 9 tokens"):
        pipe.run_until("logits", "1 2 3", images=[(4, 4)])
    assert pipe.count_tokens("1 2 3", images=[(4, 4)]) == 9


def test_an_empty_prompt_is_refused(pipe):
    assert refusal(pipe, "") == "the prompt is empty; give it some text"


def test_a_request_and_its_parts_are_not_given_together(pipe):
    message = "give either a Request or its parts as keywords, not both"
    assert refusal(pipe, Request("1"), images=IMAGES) == message
    assert refusal(pipe, Request("1"), system="2") == message
    with pytest.raises(InputError, match="give images and videos in the Request, not beside it"):
        pipe.count_tokens(Request("1"), images=IMAGES)


def test_a_wrong_image_fails_alone_and_its_memory_goes_back(pipe):
    slots = watch_slots(pipe)
    good = pipe.stream("1 2 3", images=IMAGES)
    next(good)
    assert refusal(pipe, "1", images=[(2, 2, -1)]) == "the image is truncated"
    assert good.reply.tokens == greedy("1 2 3", IMAGES)
    assert all(slot.closed for slot in slots)


def test_drafts_over_a_window_need_the_users_consent(load):
    window = (
        "stages: [local/vision, mrope, local/embed, merge, "
        "{local/windowed: {cache: {window: {size: 9}}}}]\nstrategy: prompt_lookup"
    )
    with pytest.raises(ConfigError) as error:
        load(window)
    assert str(error.value).endswith(
        "strategy: prompt_lookup verifies several tokens in one pass, and with the cache of "
        "local/windowed results depend on how tokens are split\n"
        "  choose another strategy or cache, or say 'approximate: true'"
    )
    assert load(f"{window}\napproximate: true").generate("1 2 3").tokens
    wide = window.replace("size: 9", "size: 900")
    assert load(f"{wide}\napproximate: true").generate("1 2 3").tokens == greedy("1 2 3")


# Batches


REQUESTS = [
    Request("1 2 3", id="a"),
    Request("4 5", images=IMAGES, id="b"),
    Request("6 7 8 9 10 11 12", id="c", settings={"max_new_tokens": 3}),
    Request("1", images=IMAGES[1:], id="d"),
]


@pytest.mark.parametrize("concurrency", [1, 2, 3, 100])
def test_a_batch_gives_every_request_the_tokens_it_gets_alone(pipe, concurrency):
    slots = watch_slots(pipe)
    alone = [pipe.generate(request).tokens for request in REQUESTS]
    del slots[:]
    replies = pipe.generate_batch(iter(REQUESTS), concurrency=concurrency)
    assert [reply.tokens for reply in replies] == alone
    assert [reply.id for reply in replies] == ["a", "b", "c", "d"]
    assert all(slot.closed for slot in slots)


def test_a_batch_of_nothing_is_nothing(pipe):
    assert pipe.generate_batch([]) == []


@pytest.mark.parametrize("concurrency", [0, -1])
def test_a_batch_of_which_none_may_be_in_progress_is_refused(pipe, concurrency):
    with pytest.raises(InputError, match=f"concurrency={concurrency}: at least one"):
        pipe.generate_batch(iter(REQUESTS), concurrency=concurrency)


@pytest.mark.parametrize("concurrency", [1, 2, 9])
@pytest.mark.parametrize(
    "wrong",
    [
        Request("1", images=[(2, 2, -1)], id="x"),
        Request("1", settings={"seed": -1}, id="x"),
        Request("", id="x"),
    ],
)
def test_a_batch_raises_the_first_error_when_all_before_it_are_done(pipe, wrong, concurrency):
    slots = watch_slots(pipe)
    later = Request("1", images=[(2, 4, -2)])
    with pytest.raises(InputError) as error:
        pipe.generate_batch([*REQUESTS[:2], wrong, later], concurrency=concurrency)
    assert str(error.value) in {
        "requests[2] (id 'x'): the image is truncated",
        "requests[2] (id 'x'): seed is -1; it must be a whole number of at least 0",
        "requests[2] (id 'x'): the prompt is empty; give it some text",
    }
    assert all(slot.closed for slot in slots)
    with pytest.raises(InputError, match=r"^requests\[0\]: the image is truncated$"):
        pipe.generate_batch([later, wrong], concurrency=concurrency)


def test_a_batch_is_of_requests(pipe):
    slots = watch_slots(pipe)
    with pytest.raises(InputError, match=r"^requests\[1\] is str; give triptych.Request"):
        pipe.generate_batch([REQUESTS[0], "1"])
    assert all(slot.closed for slot in slots)


# Scores and ports


def log_softmax(logits):
    return logits - np.logaddexp.reduce(logits, axis=-1, keepdims=True)


def test_a_score_is_the_sum_of_log_probabilities(pipe):
    score = pipe.score("1 2 3", "4 5 6", images=IMAGES)
    expected = log_softmax(fresh_logits("1 2 3 4 5", IMAGES, tail=2))[range(3), [4, 5, 6]]
    np.testing.assert_allclose(score.logprobs, expected, atol=1e-12)
    assert score.total == pytest.approx(expected.sum())
    assert score.tokens == (4, 5, 6)
    assert pipe.score("1 2 3", [4, 5, 6], images=IMAGES).logprobs == score.logprobs


def test_what_greedy_decoding_says_scores_higher_than_its_neighbours(pipe):
    reply = pipe.generate("1 2 3", max_new_tokens=4)
    best = pipe.score("1 2 3", reply.tokens).logprobs
    for place in range(4):
        other = list(reply.tokens)
        other[place] = (other[place] + 1) % 32
        assert pipe.score("1 2 3", other).logprobs[place] < best[place]


def test_scores_that_cannot_be_given_are_refused(pipe):
    slots = watch_slots(pipe)
    with pytest.raises(InputError) as error:
        pipe.score("1", "")
    assert str(error.value) == "score: the completion is empty; give at least one token"
    for token in (-1, 32):
        with pytest.raises(InputError) as error:
            pipe.score("1", [token])
        assert str(error.value) == f"score: there is no token {token}; the model has 32"
    assert all(slot.closed for slot in slots)


def test_a_single_port_is_computed_and_given_as_a_copy(pipe):
    expected = FakePipeline()
    for images in (IMAGES, IMAGES[:1]):
        features = pipe.run_until("image_features", "1", images=images)
        prompt = expected.prompt("1", images)
        np.testing.assert_array_equal(
            features, expected.executor.probe(prompt, "image_features")["image_features"]
        )
        features[:] = 0
        assert pipe.run_until("image_features", "1", images=images).any()
    np.testing.assert_allclose(
        pipe.run_until("logits", Request("1 2 3"))[0], fresh_logits("1 2 3"), atol=1e-11
    )


def test_a_port_that_is_not_there_is_refused(pipe):
    ports = (
        "deepstack_embeds, deepstack_features, image_features, image_grid_thw, input_ids, "
        "inputs_embeds, logit_index, logits, next_position, pixel_values, position_ids, "
        "source, start_position, visual_index"
    )
    with pytest.raises(InputError) as error:
        pipe.run_until("image_feature", "1", images=IMAGES)
    assert str(error.value) == (
        "port 'image_feature' is written by nobody; did you mean 'image_features'? "
        f"(ports: {ports})"
    )
    for port in ("image_features", "pixel_values", "deepstack_embeds"):
        with pytest.raises(InputError) as error:
            pipe.run_until(port, "1")
        assert str(error.value) == f"port {port!r} is not written for this request (ports: {ports})"


# Plugins


def test_a_chooser_that_breaks_its_word_is_named_by_its_place(load):
    pipe = load("sampler: [local/liar]")
    with pytest.raises(PluginError) as error:
        pipe.generate("1 2 3")
    assert str(error.value).startswith("sampler.local/liar (")
    assert str(error.value).endswith("chose token 1000, which is not among its candidates.")


def test_a_stage_that_cannot_load_is_named_by_its_place(load):
    with pytest.raises(ConfigError) as error:
        load("stages: [local/unloadable]")
    assert str(error.value).endswith(
        "stages.local/unloadable: local/unloadable failed with OSError: no such weights"
    )
    assert error.value.exit_code == 1


def test_the_names_of_the_api_are_offered(pipe):
    assert isinstance(pipe, triptych.Pipeline)
    assert isinstance(pipe.generate("1"), Reply)


# What would go wrong without a word


def test_a_picture_that_no_stage_looks_at_is_refused(load):
    blind = load(remove=["local/vision", "merge"])
    assert blind.generate("1 2 3", seed=1).tokens
    with pytest.raises(InputError, match="no stage of this pipeline looks at the request's"):
        blind.generate("1 2 3", images=IMAGES)


def test_a_completion_is_text_or_ids(pipe):
    with pytest.raises(InputError, match="text or token ids, not int"):
        pipe.score("1 2", 3)


def test_a_plugin_file_that_is_missing_is_an_error_even_when_unused():
    with pytest.raises(ConfigError, match=r"plugins=\['no.py'\]: there is no such file"):
        triptych.load(plugins="no.py")


@pytest.mark.parametrize(
    ("body", "lacks"),
    [
        ("pass", "when, whole, reads, writes, cache_pairs, __call__"),
        (
            "when = triptych.When.INPUT; whole = False; reads = writes = ()\n"
            "    def __call__(self, ports): return {}",
            "cache_pairs",
        ),
    ],
)
def test_a_stage_that_declares_too_little_is_told_what_it_lacks(
    pipeline_file, tmp_path, body, lacks
):
    (tmp_path / "bare.py").write_text(
        "import triptych\n"
        "@triptych.hookimpl\n"
        "def stages(): return [triptych.Component('bare', ':Bare', 'declares too little')]\n"
        f"class Bare:\n    {body}\n"
    )
    with pytest.raises(ConfigError) as caught:
        triptych.load(
            pipeline_file(),
            plugins=[fakes.__file__, tmp_path / "bare.py"],
            insert="after mrope: local/bare",
        )
    assert f"local/bare is no stage: it has no {lacks}\n  a stage declares" in str(caught.value)
    assert caught.value.exit_code == 1


def test_a_context_that_no_memory_holds_says_what_to_lower(load):
    pipe = load(overrides={"session.max_context": 10**18})
    with pytest.raises(InputError, match=r"cannot be reserved; lower session\.max_context"):
        pipe.generate("1 2")


def test_a_warp_without_keeps_winner_is_told_of_it(pipeline_file, tmp_path):
    (tmp_path / "bare.py").write_text(
        "import triptych\n"
        "@triptych.hookimpl\n"
        "def samplers(): return [triptych.Component('bare', ':Bare', 'says no role')]\n"
        "class Bare:\n    def __call__(self, candidates, context): return candidates\n"
    )
    plugins = [fakes.__file__, tmp_path / "bare.py"]
    with pytest.raises(ConfigError, match="if 'local/bare' is a warp, give its class `keeps_win"):
        triptych.load(
            pipeline_file(), plugins=plugins, overrides={"sampler": ["local/bare", "draw"]}
        )

"""Whole pipelines on random checkpoints give what transformers gives in float32."""

import numpy as np
import pytest

from triptych import Request
from triptych.core.execution.execution import Clock
from triptych.core.spans import Span

SMALL, WIDE, TALL, LARGE = (4, 4, 1), (4, 14, 2), (12, 2, 3), (10, 12, 4)

REQUESTS = {
    "text": Request("1 2 3 4 5 6 7"),
    "one token": Request("5"),
    "one image": Request("1 2 3", images=[WIDE]),
    "two images": Request("9 8 7", images=[SMALL, TALL]),
    "three images": Request("4", images=[LARGE, SMALL, WIDE]),
    "one image twice": Request("1 1 2", images=[TALL, TALL]),
    "images between texts": Request(
        messages=[
            {"role": "system", "content": "3 4"},
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "1 2"},
                    {"type": "image", "image": SMALL},
                    {"type": "text", "text": "3"},
                    {"type": "image", "image": WIDE},
                ],
            },
        ]
    ),
}
FEW = ("text", "one image", "two images", "three images")
TOLERANCE = 2e-4


@pytest.mark.parametrize("name", FEW)
def test_sixty_four_greedy_tokens_are_those_of_transformers(model, name):
    reply = model.pipe.generate(REQUESTS[name])
    assert reply.tokens == model.greedy(REQUESTS[name])
    assert len(reply.tokens) == 64


@pytest.mark.parametrize("name", REQUESTS)
def test_scores_are_the_log_softmax_of_transformers(model, name):
    rng = np.random.default_rng(3)
    completion = rng.integers(0, model.shape.vocabulary - 5, 12).tolist()
    score = model.pipe.score(REQUESTS[name], completion)
    expected = model.logprobs(REQUESTS[name], completion)
    np.testing.assert_allclose(score.logprobs, expected, atol=TOLERANCE)
    assert score.total == pytest.approx(expected.sum(), abs=12 * TOLERANCE)


def test_replies_vary_enough_to_prove_something(models):
    varied = [
        len(set(models(name).greedy(REQUESTS["one image"])))
        for name in ("untied, one kv head", "DeepStack on every layer")
    ]
    assert min(varied) > 6


def test_single_ports_are_those_of_transformers(model):
    request = REQUESTS["three images"]
    prompt = model.prompt(request)
    features, deepstack = model.reference.vision(prompt.pixels, prompt.grids)
    run = model.pipe.run_until
    np.testing.assert_allclose(run("image_features", request), features, atol=TOLERANCE)
    np.testing.assert_allclose(run("deepstack_features", request), deepstack, atol=TOLERANCE)
    positions, next_position = model.reference.positions(prompt)
    np.testing.assert_array_equal(run("position_ids", request), positions[:, 0])
    assert run("next_position", request)[-1] == next_position
    logits = model.reference.logits(prompt)
    np.testing.assert_allclose(run("logits", request)[0, 0], logits[-1], atol=TOLERANCE)


@pytest.mark.parametrize("chunk", [1, 3, 7])
def test_slices_that_cut_images_give_the_tokens_of_one_pass(models, chunk):
    for name in ("tied", "untied, one kv head"):
        model = models(name)
        pipe = model.load(overrides={"session.chunk": chunk})
        for request in REQUESTS.values():
            whole = model.pipe.generate(request, max_new_tokens=12)
            assert pipe.generate(request, max_new_tokens=12).tokens == whole.tokens


# Conversations

TURNS = [
    ("1 2 3", [SMALL]),
    ("4 5", []),
    ("6", [LARGE, SMALL]),
    ("7 8 9", [WIDE]),
]


def asked(text, images=()):
    parts = [{"type": "image", "image": image} for image in images]
    return {"role": "user", "content": [*parts, {"type": "text", "text": text}]}


def assert_same(model, reply, messages):
    """A turn's reply is that of a fresh run of all messages, and that of transformers."""
    request = Request(messages=messages)
    assert reply.tokens == model.pipe.generate(request, max_new_tokens=16).tokens
    assert reply.tokens == model.greedy(request, 16)


def last_logits(chat):
    """The logits of the last token but one, forwarded once more on the cache of a chat."""
    sequence = chat._sequence
    said = chat.messages[-1]["tokens"]
    sequence.truncate(sequence.forwarded - 1)
    sequence.append(said[-2:-1])
    return chat.pipeline._scheduler.collect(Span(sequence), Clock())[0]


def test_every_turn_of_a_chat_with_new_images_equals_a_fresh_run_and_transformers(model):
    chat = model.pipe.chat(max_new_tokens=16)
    for text, images in TURNS:
        messages = [*chat.messages, asked(text, images)]
        assert_same(model, chat.send(text, images=images), messages)
    said = chat.messages[-1]["tokens"]
    expected = model.reference.logits(model.prompt(Request(messages=messages), then=said[:-1]))
    np.testing.assert_allclose(last_logits(chat), expected[-1], atol=TOLERANCE)


def test_edited_history_equals_a_fresh_run_and_transformers(model):
    chat = model.pipe.chat(max_new_tokens=16)
    for text, images in TURNS[:3]:
        chat.send(text, images=images)
    chat.messages[2] = asked("5 5", [TALL])
    messages = [*chat.messages, asked("1")]
    assert_same(model, chat.send("1"), messages)
    del chat.messages[1:]
    chat.messages[0] = asked("1 2 3", [(4, 4, 9)])
    messages = [*chat.messages, asked("2", [SMALL])]
    assert_same(model, chat.send("2", images=[SMALL]), messages)


# Pruned prompts


@pytest.mark.parametrize("chunk", [2048, 5])
def test_a_pruned_prompt_equals_transformers_on_pruned_inputs(model, chunk):
    import torch

    request = REQUESTS["three images"]
    pipe = model.load(insert="after mrope: local/every_third", overrides={"session.chunk": chunk})
    completion = [3, 1, 4, 1, 5]
    score = pipe.score(request, completion)
    # The model of transformers with its own features, on the tokens that are left.
    prompt = model.prompt(request, then=completion[:-1])
    features, deepstack = model.reference.vision(prompt.pixels, prompt.grids)
    positions, _ = model.reference.positions(prompt)
    visual = prompt.ids == model.shape.token("image")
    # Each image is reduced by itself.
    rows = [int(np.prod(grid)) // 4 for grid in prompt.grids]
    left = np.concatenate([np.arange(count) % 3 == 0 for count in rows])
    tokens = ~visual
    tokens[visual] = left
    inner = model.reference.model
    with torch.no_grad():
        embeds = inner.get_input_embeddings()(torch.tensor(prompt.ids))
        embeds[torch.tensor(visual)] = torch.tensor(features)
        hidden = inner.model.language_model(
            inputs_embeds=embeds[tokens][None],
            position_ids=torch.tensor(positions[:, :, tokens]),
            visual_pos_masks=torch.tensor(visual[tokens])[None],
            deepstack_visual_embeds=list(torch.tensor(deepstack[:, left])),
        ).last_hidden_state
        logits = inner.lm_head(hidden)[0, -len(completion) :].double().numpy()
    expected = logits - np.logaddexp.reduce(logits, axis=-1, keepdims=True)
    expected = expected[range(len(completion)), completion]
    np.testing.assert_allclose(score.logprobs, expected, atol=TOLERANCE)
    assert np.abs(expected - model.pipe.score(request, completion).logprobs).max() > 0.01


def test_a_reducer_that_keeps_everything_changes_nothing(model):
    request = REQUESTS["two images"]
    pipe = model.load(insert="after mrope: {local/every_third: 1}")
    assert pipe.generate(request).tokens == model.pipe.generate(request).tokens


# A window over the cache


def test_a_window_attends_to_its_sinks_and_its_last_tokens(model):
    import torch

    size, sinks, slack = 9, 3, 4
    window = {"size": size, "sinks": sinks, "slack": slack}
    pipe = model.load(overrides={"decoder.cache": {"window": window}, "session.chunk": 1})
    completion = [int(n) for n in np.random.default_rng(0).integers(0, 60, 40)]
    score = pipe.score(Request("1 2 3 4"), completion)
    # Token by token: what is there when it is forwarded, and itself.
    ids = [1, 2, 3, 4, *completion[:-1]]
    seen = np.zeros((len(ids), len(ids)), bool)
    kept = []
    for token in range(len(ids)):
        kept.append(token)
        seen[token, kept] = True
        if len(kept) == size + sinks + slack:
            kept = kept[:sinks] + kept[-size:]
    assert not np.tril(~seen)[: size + sinks + slack].any()
    assert np.tril(~seen).any()
    mask = torch.where(torch.tensor(seen), 0.0, -torch.inf)[None, None]
    inner = model.reference.model
    with torch.no_grad():
        hidden = inner.model.language_model(
            inputs_embeds=inner.get_input_embeddings()(torch.tensor(ids))[None],
            position_ids=torch.arange(len(ids)).expand(3, 1, -1),
            attention_mask=mask,
        ).last_hidden_state
        logits = inner.lm_head(hidden)[0, -len(completion) :].double().numpy()
    expected = logits - np.logaddexp.reduce(logits, axis=-1, keepdims=True)
    expected = expected[range(len(completion)), completion]
    np.testing.assert_allclose(score.logprobs, expected, atol=TOLERANCE)


# Strategies and company

CHAINS = {
    "greedy": ["greedy"],
    "sampled": [{"temperature": 0.8}, {"top_p": 0.9}, "draw"],
    "with state": [{"local/penalty": 1.4}, {"temperature": 0.8}, "draw"],
}


@pytest.mark.parametrize("chain", CHAINS.values(), ids=CHAINS.keys())
def test_prompt_lookup_gives_the_tokens_of_plain_decoding(models, chain):
    for name in ("tied", "untied, one kv head"):
        model = models(name)
        lookup = model.load(overrides={"strategy": {"prompt_lookup": {"tokens": 4}}})
        for seed, request in enumerate(REQUESTS.values()):
            plain = model.pipe.generate(request, sampler=chain, seed=seed)
            assert lookup.generate(request, sampler=chain, seed=seed).tokens == plain.tokens


def test_prompt_lookup_gives_the_tokens_of_plain_decoding_on_pruned_prompts(untied):
    pruned = {"insert": "after mrope: local/every_third"}
    plain = untied.load(**pruned)
    lookup = untied.load(**pruned, overrides={"strategy": "prompt_lookup"})
    for name in ("one image", "three images", "images between texts"):
        assert lookup.generate(REQUESTS[name]).tokens == plain.generate(REQUESTS[name]).tokens


def test_requests_in_company_get_the_tokens_they_get_alone(untied):
    requests = [
        Request(r.text, r.messages, r.images, settings={"seed": seed, "temperature": 0.9})
        for seed, r in enumerate(REQUESTS.values())
    ]
    alone = [untied.pipe.generate(request).tokens for request in requests]
    for concurrency in (2, 7):
        together = untied.pipe.generate_batch(requests, concurrency=concurrency)
        assert [reply.tokens for reply in together] == alone

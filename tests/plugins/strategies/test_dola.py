"""DoLa: the paper's contrast of layers, written plainly beside it, on an export of sketch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import triptych
from triptych.core.clock import Clock
from triptych.core.config_error import ConfigError
from triptych.export import export_checkpoint
from triptych.plugins.strategies.dola import DoLa

ROOT = Path(__file__).parents[3]
PICTURE = min((ROOT / "examples" / "images").glob("*.png"))
LAYERS = (1, 3)
TOKENS = 8


@pytest.fixture(scope="module")
def exposed(tmp_path_factory):
    out = tmp_path_factory.mktemp("dola") / "export"
    return export_checkpoint(
        ROOT / "checkpoints" / "sketch", out, expose="early_logits:1+3,hidden:2"
    )


def softmax(row):
    weights = np.exp(row.astype(np.float64) - row.max())
    return weights / weights.sum()


def plain(last, early, top):
    """Equations 1 to 4 of the paper, word by word."""
    mature, premature = softmax(last), [softmax(one) for one in early]

    def kullback_leibler(one, other):
        return sum(p * np.log(p / q) for p, q in zip(one, other, strict=True) if p > 0)

    def jensen_shannon(one, other):
        mean = (one + other) / 2
        return (kullback_leibler(one, mean) + kullback_leibler(other, mean)) / 2

    chosen = max(premature, key=lambda one: jensen_shannon(mature, one))
    with np.errstate(divide="ignore"):
        contrast = np.log(mature) - np.log(chosen)
    return np.where(mature >= top * mature.max(), contrast, -np.inf)


@pytest.mark.parametrize("seed", range(5))
def test_the_farthest_layer_is_taken_away_and_the_implausible_left_out(seed):
    random = np.random.default_rng(seed)
    last, *early = random.normal(size=(4, 40)).astype(np.float32) * 3
    strategy = DoLa(DoLa.Settings(layers=(0, 1, 2), relative_top=0.1))
    expected = plain(last, early, 0.1)
    np.testing.assert_allclose(strategy.combine(last, early), expected, rtol=1e-6)
    assert 0 < np.isfinite(expected).sum() < 40


def loaded(folder, **settings):
    strategy = {"dola": {"layers": list(LAYERS), **settings}}
    return triptych.load(folder, overrides={"strategy": strategy})


def said(pipe, **settings):
    asked = {"no_sample": True, "max_new_tokens": TOKENS, **settings}
    return pipe.generate("Describe this image.", images=[PICTURE], **asked).tokens


def forwarded(pipe, tokens, media=()):
    """The logits of all tokens in one slice, with what they carry."""
    sequence = pipe._executor.sequence()
    sequence.append(tokens, media)
    pipe._executor.enter(sequence, Clock())
    logits = pipe._executor.forward(sequence, len(sequence), len(sequence), Clock())
    sequence.close()
    return logits


def test_the_text_is_that_of_the_plain_rule_over_the_graphs_own_logits(exposed):
    pipe, tokens = loaded(exposed, relative_top=0.02), []
    prompt = pipe.processor.prompt(triptych.Request("Describe this image.", images=[PICTURE]))
    while len(tokens) < TOKENS:
        row = forwarded(pipe, [*prompt.tokens, *tokens], prompt.media)[-1]
        early = [row.needs[f"early_logits.{layer}"] for layer in LAYERS]
        token = int(np.argmax(plain(np.array(row), early, 0.02)))
        if token in pipe.processor.eos_ids:
            break
        tokens.append(token)
    assert list(said(pipe)) == tokens
    assert len(tokens) > 2


def test_neutral_settings_are_plain_decoding_sampled_text_too(exposed):
    neutral, usual = loaded(exposed, scale=0.0, relative_top=0.0), triptych.load(exposed)
    assert said(neutral) == said(usual)
    hot = {"no_sample": False, "temperature": 1.5, "seed": 5}
    assert said(neutral, **hot) == said(usual, **hot)


def test_with_all_but_the_winner_left_out_greedy_says_what_it_always_says(exposed):
    assert said(loaded(exposed, relative_top=1.0)) == said(triptych.load(exposed))


def test_requests_in_company_say_what_they_say_alone(exposed):
    pipe = loaded(exposed)
    requests = [
        triptych.Request(text, images=[PICTURE], settings={"max_new_tokens": TOKENS})
        for text in ("Describe this image.", "How many shapes are there?", "What colour?")
    ]
    together = [reply.tokens for reply in pipe.generate_batch(requests)]
    assert together == [pipe.generate(request).tokens for request in requests]


def test_an_export_without_the_layers_is_told_how_to_get_them():
    with pytest.raises(ConfigError, match="--expose early_logits:1"):
        triptych.load(overrides={"strategy": {"dola": {"layers": [1]}}})


PLUGIN = """
import numpy as np
from triptych import Component, hookimpl

class Probe:
    needs = ("hidden.2",)
    keeps_winner = False
    seen = []
    def __call__(self, candidates, context):
        Probe.seen.append(np.array(context.needs["hidden.2"]))
        return candidates

@hookimpl
def samplers():
    return [Component("probe", ":Probe", "Looks at hidden states.", role="warp")]
"""


@pytest.mark.parametrize("strategy", ["autoregressive", "prompt_lookup", {"dola": {"layers": [1]}}])
def test_a_sampling_step_is_given_what_it_needs_of_the_very_token(exposed, tmp_path, strategy):
    """Each token was chosen beside the hidden states of the token before it."""
    file = tmp_path / "probe.py"
    file.write_text(PLUGIN)
    pipe = triptych.load(exposed, plugins=[file], overrides={"strategy": strategy})
    chain, text = ["local/probe", "greedy"], "Describe this image."
    reply = pipe.generate(text, sampler=chain, max_new_tokens=TOKENS, images=[PICTURE])
    seen = pipe.spec.sampler_for(sampler=chain)[0].entry.load().seen
    prompt = pipe.processor.prompt(triptych.Request(text, images=[PICTURE]))
    logits = forwarded(pipe, [*prompt.tokens, *reply.tokens], prompt.media)
    rows = logits.carried[len(prompt.tokens) - 1 :]
    assert len(rows) == len(reply.tokens) + 1
    assert len(seen) >= len(reply.tokens) > 1
    for mine, row in zip(seen, rows, strict=False):
        np.testing.assert_allclose(mine, row["hidden.2"], atol=1e-3)


def test_a_step_that_needs_what_no_graph_writes_names_the_export(tmp_path):
    file = tmp_path / "probe.py"
    file.write_text(PLUGIN)
    with pytest.raises(ConfigError, match=r"(?s)needs 'hidden.2'.*--expose hidden:2"):
        triptych.load(plugins=[file], insert=[], overrides={"sampler": ["local/probe", "greedy"]})
    pipe = triptych.load(plugins=[file])
    with pytest.raises(ConfigError, match="--expose hidden:2"):
        pipe.generate("Hello", sampler=["local/probe", "greedy"])

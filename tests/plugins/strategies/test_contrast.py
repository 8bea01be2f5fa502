"""Contrastive strategies: two branches, and the logits that their difference makes."""

import numpy as np
import pytest

import triptych
from triptych.core.prompt import Media, Prompt
from triptych.core.sampling import Chain, log_softmax
from triptych.plugins.samplers.draw import Draw
from triptych.plugins.samplers.greedy import Greedy
from triptych.plugins.strategies.autoregressive import Autoregressive
from triptych.plugins.strategies.guidance import Guidance
from triptych.plugins.strategies.vcd import STEPS, VCD, signal_left
from triptych.testing import FakeDecoder

PROMPT = [1, 2, 3, 1, 2]


def guidance(**settings):
    return Guidance(Guidance.Settings(**settings))


def vcd(**settings):
    return VCD(VCD.Settings(**settings))


def rows(seed=0, size=60):
    return (3 * np.random.default_rng(seed).standard_normal((2, size))).astype(np.float32)


def prompt_with_media(value=None):
    value = rows(size=24) if value is None else value
    media = Media("image", "abc", np.array([2, 3]), lambda: {"pixel_values": value, "grid": GRID})
    return Prompt(np.array([5, 6, 7, 7, 8]), (media,))


GRID = np.array([[1, 2, 2]])


# combining


@pytest.mark.parametrize("scale", [0.0, 0.5, 1.0, 1.5, 3.0])
def test_guidance_combines_as_transformers_does(scale):
    torch = pytest.importorskip("torch")
    logits = pytest.importorskip("transformers.generation.logits_process")

    ours, theirs = rows()

    class Said(dict):
        logits = torch.from_numpy(theirs)[None, None]

    processor = logits.UnbatchedClassifierFreeGuidanceLogitsProcessor(
        scale, lambda *_, **__: Said(), unconditional_ids=torch.tensor([[1]]), use_cache=False
    )
    expected = processor(torch.tensor([[1]]), torch.from_numpy(ours)[None])[0].numpy()
    combined = guidance(scale=scale).combine(ours, theirs)
    # Up to a constant, which no softmax sees.
    np.testing.assert_allclose(log_softmax(combined), log_softmax(expected), atol=1e-4)


def test_vcd_combines_as_the_paper_says():
    ours, theirs = rows()
    combined = vcd(alpha=0.7, beta=0.2).combine(ours, theirs)
    odds = np.exp(ours.astype(np.float64))
    plausible = odds >= 0.2 * odds.max()
    assert np.array_equal(combined > -np.inf, plausible)
    expected = 1.7 * ours.astype(np.float64) - 0.7 * theirs
    np.testing.assert_allclose(combined[plausible], expected[plausible], rtol=1e-5)


def test_neutral_settings_change_nothing():
    ours, theirs = rows()
    assert guidance(scale=1).combine(ours, theirs) is ours
    assert vcd(alpha=0, beta=0).combine(ours, theirs) is ours


# the other branch's prompt


def test_guidance_leaves_out_the_media_or_all_but_the_last_token():
    assert guidance().edit(prompt_with_media()).tokens.tolist() == [5, 6, 8]
    assert not guidance().edit(prompt_with_media()).media
    assert guidance(without="prompt").edit(prompt_with_media()).tokens.tolist() == [8]


def test_the_noise_is_that_of_so_many_steps_of_diffusion():
    clean = np.full((400, 50), 3.0, np.float32)
    edited = vcd(noise=300).edit(prompt_with_media(clean))
    noisy = edited.media[0].ports["pixel_values"]
    assert edited.tokens.tolist() == [5, 6, 7, 7, 8]
    assert noisy.dtype == np.float32
    left = signal_left(300)
    assert noisy.mean() == pytest.approx(3 * np.sqrt(left), abs=0.03)
    assert noisy.std() == pytest.approx(np.sqrt(1 - left), abs=0.02)
    assert edited.media[0].ports["grid"] is GRID


def test_the_signal_falls_from_nearly_all_to_little():
    left = [signal_left(steps) for steps in range(0, STEPS, 100)]
    assert left == sorted(left, reverse=True)
    assert left[0] > 0.9999
    # By hand: the rates add up to about half of 1,000 times 5e-3.
    assert np.log(signal_left(STEPS - 1)) == pytest.approx(-2.5, abs=0.02)


def test_the_noise_belongs_to_the_picture_and_its_settings():
    digests = {
        vcd(**settings).edit(prompt_with_media()).media[0].digest
        for settings in ({}, {"noise": 400}, {"seed": 1})
    }
    assert len(digests) == 3
    assert "abc" not in digests
    one, again = (vcd().edit(prompt_with_media()).media[0].ports for _ in range(2))
    assert np.array_equal(one["pixel_values"], again["pixel_values"])


def test_equal_frames_get_equal_noise():
    frames = np.zeros((4, 3, 2, 16), np.float32).reshape(4, -1)
    noisy = vcd().edit(prompt_with_media(frames)).media[0].ports["pixel_values"]
    noisy = noisy.reshape(4, 3, 2, 16)
    assert np.array_equal(noisy[:, :, 0], noisy[:, :, 1])
    assert np.unique(noisy).size == 4 * 3 * 16


# decoding


def generate(strategy, seed, chooser):
    decoder = FakeDecoder(seed=seed, order=9)
    chain = Chain([chooser], seed=seed, prompt_tokens=PROMPT)
    return decoder.generate(strategy, chain, eos_ids={0}, max_new_tokens=20), decoder


@pytest.mark.parametrize("chooser", [Greedy, Draw])
@pytest.mark.parametrize(
    "neutral",
    [guidance(scale=1, without="prompt"), vcd(alpha=0, beta=0), vcd(alpha=0)],
    ids=["guidance", "vcd", "vcd-beta"],
)
def test_a_neutral_contrast_gives_the_tokens_of_plain_decoding(neutral, chooser):
    if chooser is Draw and neutral.__class__ is VCD and neutral.settings.beta:
        return
    for seed in range(8):
        plain, _ = generate(Autoregressive(), seed, chooser())
        contrasted, _ = generate(neutral, seed, chooser())
        assert contrasted.emitted == plain.emitted


def test_both_branches_go_on_by_the_token_that_was_chosen():
    generation, decoder = generate(guidance(scale=3, without="prompt"), 1, Greedy())
    text = []
    for token in generation.emitted:
        ours = log_softmax(decoder.logits([*PROMPT, *text]))
        theirs = log_softmax(decoder.logits([PROMPT[-1], *text]))
        assert token == int(np.argmax(3 * (ours - theirs) + theirs))
        text.append(token)


# sketch


PICTURE = "examples/images/scene.png"
QUESTION = "Describe this image."


@pytest.fixture(scope="module")
def pipe():
    return triptych.load()


def test_the_noised_branch_alone_is_a_fresh_run_on_the_noised_picture(pipe, monkeypatch):
    overheard = []
    combine = VCD.combine

    def listening(self, ours, theirs):
        overheard.append(theirs.copy())
        return combine(self, ours, theirs)

    monkeypatch.setattr(VCD, "combine", listening)
    contrasted = triptych.load(overrides={"strategy": {"vcd": {"noise": 600}}})
    reply = contrasted.generate(QUESTION, images=[PICTURE], max_new_tokens=12)
    prompt = pipe.processor.prompt(triptych.Request(QUESTION, images=[PICTURE]))
    fresh = pipe.open(vcd(noise=600).edit(prompt))
    for token, row in zip(reply.tokens, overheard, strict=True):
        np.testing.assert_allclose(pipe.logits(fresh)[-1], row, atol=2e-4)
        fresh.append([token])
    pipe.keep(fresh)


@pytest.mark.parametrize(
    "neutral",
    [
        {"guidance": {"scale": 1.0}},
        {"vcd": {"alpha": 0.0, "beta": 0.0}},
        {"beam_search": {"width": 1}},
        {"best_of_n": {"n": 1}},
    ],
    ids=str,
)
def test_neutral_settings_give_the_very_tokens_of_greedy(pipe, neutral):
    other = triptych.load(overrides={"strategy": neutral})
    expected = pipe.generate(QUESTION, images=[PICTURE]).tokens
    assert other.generate(QUESTION, images=[PICTURE]).tokens == expected


@pytest.mark.parametrize(
    "strategy",
    [
        {"guidance": {"scale": 2.0}},
        {"vcd": {}},
        {"beam_search": {"width": 12}},
        {"beam_search": {"width": 6, "groups": 3, "diversity": 1.0}},
    ],
    ids=str,
)
def test_replies_are_the_same_in_company_and_in_a_chat(strategy):
    other = triptych.load(overrides={"strategy": strategy})
    request = triptych.Request(QUESTION, images=[PICTURE])
    alone = other.generate(request)
    assert "blue square" in alone.text
    together = other.generate_batch([request] * 3)
    assert [reply.tokens for reply in together] == [alone.tokens] * 3
    chat = other.chat()
    assert chat.send(QUESTION, images=[PICTURE]).tokens == alone.tokens
    assert chat.send("What color is the star?").text == "yellow"

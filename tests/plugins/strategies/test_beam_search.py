"""Beam search gives the texts of transformers' beam search."""

import itertools

import numpy as np
import pytest
from pydantic import ValidationError

from tests.plugins.samplers.chains import step
from triptych.core.errors import InputError
from triptych.core.sampling import Chain, log_softmax
from triptych.plugins.samplers.draw import Draw
from triptych.plugins.samplers.greedy import Greedy
from triptych.plugins.strategies.autoregressive import Autoregressive
from triptych.plugins.strategies.beam_search import BeamSearch
from triptych.testing import FakeDecoder

PROMPT = [1, 2, 3, 1, 2]


def beams(**settings):
    return BeamSearch(BeamSearch.Settings(**settings))


def search(seed, *, eos=(0,), limit=12, steps=(), vocabulary=8, decoder=None, **settings):
    decoder = decoder or FakeDecoder(seed=seed, vocabulary=vocabulary)
    chain = Chain([*steps, Greedy()], seed=seed, prompt_tokens=PROMPT)
    made = decoder.generate(beams(**settings), chain, eos_ids=set(eos), max_new_tokens=limit)
    return made.emitted


def transformers_search(seed, *, eos=(0,), limit=12, processors=(), vocabulary=8, **settings):
    """What transformers finds with the logits of the same decoder."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    decoder = FakeDecoder(seed=seed, vocabulary=vocabulary)

    class Model(transformers.PreTrainedModel, transformers.GenerationMixin):
        config_class = transformers.PretrainedConfig
        main_input_name = "input_ids"

        def __init__(self, config):
            super().__init__(config)
            self.anchor = torch.nn.Parameter(torch.zeros(1))
            self.post_init()

        def forward(self, input_ids, **_):
            rows = np.stack([decoder.logits(ids) for ids in input_ids.numpy()])
            logits = torch.from_numpy(rows)[:, None]
            return transformers.modeling_outputs.CausalLMOutputWithPast(logits=logits)

        def prepare_inputs_for_generation(self, input_ids, **_):
            return {"input_ids": input_ids}

    config = transformers.PretrainedConfig(vocab_size=vocabulary)
    config.num_hidden_layers, config.is_encoder_decoder = 1, False
    out = Model(config).generate(
        torch.tensor([PROMPT]),
        generation_config=transformers.GenerationConfig(
            num_beams=settings.pop("width"), do_sample=False, max_new_tokens=limit,
            eos_token_id=list(eos), pad_token_id=eos[0], use_cache=False, **settings,
        ),
        logits_processor=transformers.LogitsProcessorList(processors),
    )  # fmt: skip
    found = out[0, len(PROMPT) :].tolist()
    ends = [place for place, token in enumerate(found) if token in eos]
    return found[: ends[0] + 1] if ends else found


SETTINGS = [
    {"width": 2},
    {"width": 3, "length_penalty": 0.0},
    {"width": 4, "length_penalty": 2.0, "early_stopping": True},
    {"width": 5, "early_stopping": "never", "length_penalty": 0.5},
]


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize("eos", [(0,), (0, 5)])
def test_the_texts_are_those_of_transformers(settings, eos):
    for seed in range(12):
        expected = transformers_search(seed, eos=eos, **settings)
        assert search(seed, eos=eos, **settings) == expected, seed


def test_warps_change_the_scores_as_in_transformers():
    process = pytest.importorskip("transformers.generation.logits_process")
    for seed in range(8):
        processors = [process.NoRepeatNGramLogitsProcessor(2)]
        expected = transformers_search(seed, processors=processors, width=3)
        assert search(seed, steps=[step("no_repeat_ngram", size=2)], width=3) == expected


def test_a_beam_as_wide_as_all_texts_finds_the_likeliest_one():
    decoder = FakeDecoder(seed=5, vocabulary=4)

    def score(tokens):
        text, total = list(PROMPT), 0.0
        for token in tokens:
            row = decoder.logits(text).astype(np.float64)
            total += row[token] - np.log(np.exp(row).sum())
            text.append(token)
        return total

    best = max(itertools.product(range(4), repeat=4), key=score)
    found = search(5, vocabulary=4, eos=(), limit=4, width=256, length_penalty=0.0)
    assert tuple(found) == best


def test_what_was_emitted_is_committed():
    chain = Chain([Greedy()], seed=0, prompt_tokens=PROMPT)
    found = FakeDecoder(seed=2).generate(beams(width=3), chain, eos_ids={0}, max_new_tokens=9)
    assert found.chain.tokens.tolist() == PROMPT + found.emitted


def test_one_beam_is_greedy():
    for seed in range(10):
        decoder = FakeDecoder(seed=seed)
        chain = Chain([Greedy()], seed=0, prompt_tokens=PROMPT)
        plain = decoder.generate(Autoregressive(), chain, eos_ids={0}, max_new_tokens=20)
        assert search(seed, vocabulary=12, limit=20, width=1) == plain.emitted


class Remembers(FakeDecoder):
    """Notes which texts ran side by side."""

    def forward(self, spans):
        given = super().forward(spans)
        self.texts = [tuple(span.sequence.tokens[len(PROMPT) :].tolist()) for span in spans]
        return given


def last_texts(**settings):
    decoder = Remembers(seed=3, vocabulary=20, order=1)
    search(3, decoder=decoder, eos=(), limit=8, width=6, **settings)
    return decoder.texts


def test_groups_without_diversity_search_alike():
    texts = last_texts(groups=3)
    assert texts[:2] == texts[2:4] == texts[4:]


def test_diversity_sends_the_groups_apart():
    firsts = [text[0] for text in last_texts(groups=3, diversity=100.0)]
    assert not set(firsts[:2]) & set(firsts[2:4])
    assert not set(firsts[:4]) & set(firsts[4:])


def test_the_first_group_does_not_see_the_others():
    assert last_texts(groups=3, diversity=100.0)[:2] == last_texts(groups=3)[:2]


def test_a_chain_that_draws_is_refused():
    chain = Chain([Draw()], seed=0, prompt_tokens=PROMPT)
    with pytest.raises(InputError, match="end the sampler with 'greedy'"):
        FakeDecoder().generate(beams(), chain)


def test_it_says_how_likely_each_token_of_the_best_text_was():
    prompt, decoder = (3, 1, 4), FakeDecoder()
    chain = Chain([Greedy()], seed=0, prompt_tokens=prompt, top=2)
    generation = decoder.generate(beams(width=4), chain, max_new_tokens=8)
    said = generation.chain.logprobs
    assert [one.token for one in said] == generation.emitted
    tokens = list(prompt)
    for one in said:
        row = decoder.logits(tokens)
        assert one.raw == pytest.approx(float(log_softmax(row)[one.token]), abs=1e-5)
        assert one.processed == pytest.approx(one.raw, abs=1e-5)
        assert len(one.top_raw) == 2
        tokens.append(one.token)


def test_groups_share_the_width():
    with pytest.raises(ValidationError, match="multiple"):
        beams(width=4, groups=3)

"""Drafting phrases."""

from phrasebook.phrases import Phrases

import triptych
from triptych.testing import FakeDecoder, Subject, parametrize_with_checks

# Letters whose places, modulo 12, a fake decoder says often.
PHRASES = {"phrases": ["abcab", "kkkkkk", "hgfedcba"]}


@parametrize_with_checks([Subject("strategy", Phrases, PHRASES)])
def test_it_keeps_a_strategys_promises(subject, check):
    check(subject)


def test_the_rest_of_a_phrase_is_drafted():
    strategy = Phrases(Phrases.Settings(phrases=["abc"], begin=2))
    strategy.phrases = [[1, 2, 3, 4], [2, 9]]
    assert strategy.draft([7, 1, 2]) == [3, 4]
    assert strategy.draft([7, 1]) == []


def test_replies_are_those_of_plain_decoding_in_fewer_passes():
    said = "What is the capital of France?"
    plain = triptych.load().generate(said)
    pipe = triptych.load(overrides={"strategy": {"phrasebook/phrases": ["Paris"]}})
    assert pipe.generate(said).tokens == plain.tokens


def test_a_right_phrase_saves_passes():
    from triptych.core.sampling import Chain

    class Greedy:
        def __call__(self, candidates, context):
            return int(candidates.ids[candidates.logits.argmax()])

    def reply(phrases):
        decoder = FakeDecoder()
        strategy = Phrases(Phrases.Settings(phrases=["x"]))
        strategy.phrases = phrases
        chain = Chain([Greedy()], seed=0, prompt_tokens=[3, 1, 4])
        return decoder.generate(strategy, chain, max_new_tokens=12).emitted, decoder.passes

    plain, passes = reply([])
    assert passes == 12
    assert reply([plain]) == (plain, 2)

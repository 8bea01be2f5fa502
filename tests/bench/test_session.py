"""The order in which contenders are measured, and what is recorded, with fakes for runtimes."""

import pytest

from triptych.bench.contender import Model
from triptych.bench.plan import Plan
from triptych.bench.session import Session

PLAN = Plan(
    2,
    pictures=((64, 64),),
    prompts=(5,),
    contexts=(3,),
    sequences=(2,),
    together=3,
    new=4,
    repeats=3,
    restarts=2,
)


@pytest.fixture
def two(fakes):
    """A session of two contenders; the second one is slower, and both keep diaries."""
    own, own_diary = fakes("own", load=1.0, prefill=0.2, decode=0.1, knows={"vocabulary": 50})
    peer, peer_diary = fakes("peer", load=2.0, prefill=0.6, decode=0.05, knows={"vocabulary": 40})
    session = Session([Model("own", own), Model("peer", peer)], PLAN)
    return session, own_diary, peer_diary


def named(session):
    return {result.measure.name: result for result in session.results.values()}


def test_everything_that_can_be_is_measured(two):
    session, _, _ = two
    limits = session.run()
    assert (limits.bandwidth, limits.float32, limits.int8) == (1e9, 2e9, 4e9)
    assert session.runtimes() == {"own own.model": "fake 1", "peer peer.model": "fake 1"}
    found = named(session)
    assert found["load"].values == {"own own.model": [1.0] * 2, "peer peer.model": [2.0] * 2}
    assert found["prefill 5"].values["own own.model"] == pytest.approx([0.2] * 3)
    assert found["decode at 3"].values["own own.model"] == pytest.approx([10.0] * 3)
    assert found["decode at 3"].values["peer peer.model"] == pytest.approx([20.0] * 3)
    # Two sequences give twice the tokens.
    assert found["2 sequences at 3"].values["own own.model"] == pytest.approx([20.0] * 3)
    assert found["peak memory"].ratio("own own.model", "peer peer.model").count == 2
    above = found["above the imports"].values["own own.model"]
    assert all(0 <= taken < 2**30 for taken in above)


def test_contenders_get_the_same_tokens_below_the_smaller_vocabulary(two):
    session, own, peer = two
    session.run()
    prompts = [entry[1:] for entry in own() if entry[0] == "prefill"]
    assert prompts == [entry[1:] for entry in peer() if entry[0] == "prefill"]
    assert all(0 <= token < 40 for tokens, _ in prompts for prompt in tokens for token in prompt)


def test_no_round_repeats_the_prompt_of_another(two):
    session, own, _ = two
    session.run()
    prompts = [str(entry[1]) for entry in own() if entry[0] == "prefill" and len(entry[1]) == 1]
    fresh = {prompt for prompt in prompts if prompt.count(",") == 4}
    # Two for memory, one that warms up, three rounds.
    assert len(fresh) == 2 + 1 + 3


def test_every_runtime_gets_the_same_threads(two):
    session, own, peer = two
    session.run()
    assert {entry[1] for entry in [*own(), *peer()] if entry[0] == "open"} == {2}


def test_what_a_contender_cannot_do_is_noted_and_the_others_go_on(two):
    session, _, _ = two
    session.run()
    vision = named(session)["vision 64x64"]
    assert vision.values == {}
    assert vision.missing["peer peer.model"] == "it sees nothing"


def test_a_contender_without_prompts_is_not_asked_to_decode(fakes):
    mute, diary = fakes("mute", load=1.0, decode=0.1)
    session = Session([Model("mute", mute)], PLAN)
    session.run()
    assert named(session)["decode at 3"].missing == {"mute mute.model": "it has no prompts"}
    assert "decode" not in {entry[0] for entry in diary()}


def test_lengths_beyond_the_shortest_context_are_left_out_for_all(fakes):
    own, _ = fakes("own", load=1.0, prefill=0.2, decode=0.1, knows={"max_context": 100})
    peer, _ = fakes("peer", load=1.0, prefill=0.2, decode=0.1, knows={"max_context": 9})
    session = Session([Model("own", own), Model("peer", peer)], PLAN)
    session.run()
    # Five new ones after a prompt of five are ten.
    assert "prefill 5" in session.skipped
    assert "prefill 5" not in named(session)
    assert "decode at 3" in named(session)


def test_two_of_one_name_are_told_apart(fakes):
    own, _ = fakes("own", load=1.0, prefill=0.2, decode=0.1)
    session = Session([Model("own", own)] * 2, PLAN)
    assert list(session.runtimes()) == ["own own.model", "own own.model (2)"]


def test_short_runs_are_repeated_within_a_value(fakes):
    quick, diary = fakes("quick", load=1.0, prefill=0.04, decode=0.1)
    plan = Plan(1, prompts=(5,), repeats=2, topics=("prefill",))
    Session([Model("quick", quick)], plan).run()
    # One warms up; then three of 0.04 s make a tenth of a second, twice.
    assert len([entry for entry in diary() if entry[0] == "prefill"]) == 1 + 2 * 3


def test_only_the_topics_that_were_asked_for_are_measured(fakes):
    own, diary = fakes("own", load=1.0, prefill=0.2, decode=0.1)
    session = Session([Model("own", own)], Plan(1, contexts=(3,), topics=("decode",)))
    session.run()
    assert list(named(session)) == ["decode at 3"]
    assert len([entry for entry in diary() if entry[0] == "open"]) == 1

"""The chain warps, chooses and commits, and says who is to blame when it cannot."""

import subprocess
import sys

import numpy as np
import pytest

from tests.core.sampling.steps import Does, First, Never, Pass, Says, Uniform, row
from triptych.core.errors import InputError, PluginError
from triptych.core.sampling import Candidates, Chain, LogitsError
from triptych.plugins.samplers.greedy import Greedy

NAN, INF = float("nan"), float("inf")


def test_warps_run_in_the_order_written():
    double = Does(lambda c: c.with_logits(c.logits * 2))
    add = Does(lambda c: c.with_logits(c.logits + 1))
    given = row(1, 2)
    assert Chain([double, add, First()], seed=0).warp(given).logits.tolist() == [3, 5]
    assert Chain([add, double, First()], seed=0).warp(given).logits.tolist() == [4, 6]


def test_warp_neither_chooses_nor_commits():
    chain = Chain([Pass(), Says("nothing")], seed=0, prompt_tokens=[5])
    assert chain.warp(row(1, 2)).ids.tolist() == [0, 1]
    assert chain.tokens.tolist() == [5]


def test_choose_commits_what_it_chose():
    never = Never()
    chain = Chain([never, Greedy()], seed=0, prompt_tokens=[7])
    assert [chain.choose(row(3, 2, 1)) for _ in range(3)] == [0, 1, 2]
    assert chain.tokens.tolist() == [7, 0, 1, 2]
    assert never.left == [[0, 1, 2], [1, 2], [2]], "accept sees what the warps left"


def test_accept_reaches_every_step_whoever_chose():
    never, chooser = Never(), Never()
    chain = Chain([never, chooser], seed=0)
    chain.accept(4, chain.warp(row(1, 2, 3, 4, 5)))
    assert never.seen == chooser.seen == [4]
    assert chain.tokens.tolist() == [4]


def test_the_context_shows_the_committed_tokens_and_where_the_prompt_ends():
    seen = []

    class Looks(Pass):
        def __call__(self, candidates, context):
            seen.append(
                (context.tokens.tolist(), context.prompt_length, context.generated.tolist())
            )
            return candidates

    chain = Chain([Looks(), First()], seed=0, prompt_tokens=np.array([8, 9]))
    chain.choose(row(0, 1))
    chain.choose(row(0, 1))
    assert seen == [([8, 9], 2, []), ([8, 9, 0], 2, [0])]


def test_committed_tokens_cannot_be_written_to():
    chain = Chain([First()], seed=0, prompt_tokens=[1, 2])
    with pytest.raises(ValueError, match="read-only"):
        chain.tokens[0] = 5


def test_the_prompt_given_and_the_committed_tokens_do_not_share_memory():
    prompt = np.array([1, 2])
    chain = Chain([Says(0)], seed=0, prompt_tokens=prompt)
    prompt[0] = 9
    assert chain.tokens.tolist() == [1, 2]
    for _ in range(300):
        chain.choose(row(1))
    assert prompt.tolist() == [9, 2]
    assert chain.tokens.tolist() == [1, 2] + [0] * 300


def test_steps_see_the_needs_that_were_given_to_the_chain():
    seen = []

    class Looks(Pass):
        def __call__(self, candidates, context):
            seen.append(context.needs["hidden"].tolist())
            return candidates

    chain = Chain([Looks(), First()], seed=0)
    chain.needs = {"hidden": np.array([1.5])}
    chain.choose(row(0))
    assert seen == [[1.5]]


def test_the_row_is_never_written_to():
    def in_place(candidates):
        candidates.logits[:] = 0
        return candidates

    given = row(1, 2)
    with pytest.raises(PluginError, match=r"Does .*raised ValueError: .*read-only"):
        Chain([Does(in_place), First()], seed=0).choose(given)
    assert given.tolist() == [1, 2]


# Randomness


def draws(chain, count=30):
    return [chain.choose(np.zeros(1000, np.float32)) for _ in range(count)]


def test_one_seed_gives_one_course():
    assert draws(Chain([Uniform()], seed=5)) == draws(Chain([Uniform()], seed=5))
    assert draws(Chain([Uniform()], seed=5)) != draws(Chain([Uniform()], seed=6))


def test_the_generator_is_pcg64_of_the_seed():
    reference = np.random.Generator(np.random.PCG64(5))
    expected = [int(reference.random() * 1000) for _ in range(30)]
    assert draws(Chain([Uniform()], seed=5)) == expected


def test_a_fork_draws_the_same_numbers():
    chain = Chain([Uniform()], seed=5)
    draws(chain)
    fork = chain.fork()
    assert draws(fork) == draws(chain)


def test_a_spawned_fork_draws_its_own_numbers_reproducibly():
    def course(seed):
        chain = Chain([Uniform()], seed=seed)
        one, two = chain.fork(spawn=True), chain.fork(spawn=True)
        return draws(chain), draws(one), draws(two)

    plain, one, two = course(5)
    assert len({tuple(plain), tuple(one), tuple(two)}) == 3
    assert course(5) == (plain, one, two)
    assert plain == draws(Chain([Uniform()], seed=5)), "spawning leaves the parent's numbers"


def test_a_fork_and_its_original_do_not_see_each_other():
    chain = Chain([Never(), Greedy()], seed=0, prompt_tokens=[9])
    chain.choose(row(4, 3, 2, 1))
    fork = chain.fork()
    assert [fork.choose(row(1, 2, 3, 4)) for _ in range(2)] == [3, 2]
    assert chain.choose(row(4, 3, 2, 1)) == 1
    assert fork.tokens.tolist() == [9, 0, 3, 2]
    assert chain.tokens.tolist() == [9, 0, 1]
    assert fork.prompt_length == 1


def test_a_step_may_fork_itself():
    class Counts(Pass):
        forks = 0

        def fork(self):
            copy = Counts()
            copy.forks = self.forks + 1
            return copy

    step = Counts()
    fork = Chain([step, First()], seed=0).fork()
    assert fork.steps[0].forks == 1
    assert step.forks == 0


# Logits that no token can be chosen from


def test_nan_is_an_error_that_names_the_stage_and_the_token():
    chain = Chain([Greedy()], seed=0, prompt_tokens=[1, 2], source="decoder_b")
    with pytest.raises(LogitsError) as caught:
        chain.choose(row(1, 2, NAN, NAN))
    assert str(caught.value) == (
        "decoder_b gave NaN among its logits, first for token 2, after 2 tokens: nothing can be "
        "chosen. Its graph overflows or was fed wrong values; `triptych verify` finds the stage."
    )
    assert caught.value.exit_code == 1


def test_nan_is_found_beside_infinities():
    with pytest.raises(LogitsError, match="first for token 1"):
        Chain([Greedy()], seed=0).warp(row(INF, NAN, -INF))


def test_a_row_of_minus_infinity_is_an_error_that_names_the_stage():
    with pytest.raises(LogitsError, match="decoder gave -inf for every token"):
        Chain([Greedy()], seed=0).warp(row(-INF, -INF))


@pytest.mark.parametrize(
    "wrong", [np.zeros((1, 4), np.float32), np.zeros(0, np.float32), np.zeros(3, np.int64)]
)
def test_a_row_of_another_shape_or_type_is_an_error_that_names_the_stage(wrong):
    with pytest.raises(LogitsError, match="decoder gave logits of type"):
        Chain([Greedy()], seed=0).warp(wrong)


def test_tokens_at_minus_infinity_are_no_candidates():
    assert Chain([First()], seed=0).warp(row(-INF, 1, -INF, 0)).ids.tolist() == [1, 3]


def test_tokens_at_plus_infinity_are_the_only_candidates_and_equal():
    warped = Chain([First()], seed=0).warp(row(INF, 5, INF, -INF))
    assert warped.ids.tolist() == [0, 2]
    assert warped.probabilities().tolist() == [0.5, 0.5]


def test_a_vocabulary_of_one_token_has_one_choice():
    assert Chain([Pass(), Greedy()], seed=0).choose(row(-7)) == 0


def test_half_precision_rows_are_read():
    assert Chain([Greedy()], seed=0).choose(np.array([1, 3, 2], np.float16)) == 1


# Steps that break their contract


def test_a_warp_that_masks_with_minus_infinity_has_dropped_those():
    mask = Does(lambda c: c.with_logits(np.where(c.ids == 1, -INF, c.logits)))
    assert Chain([mask, First()], seed=0).warp(row(3, 2, 1)).ids.tolist() == [0, 2]


def test_a_warp_that_lifts_to_plus_infinity_has_decided():
    force = Does(lambda c: c.with_logits(np.where(c.ids == 1, INF, c.logits)))
    assert Chain([force, First()], seed=0).warp(row(3, 2, 1)).ids.tolist() == [1]


def test_candidates_out_of_order_are_put_in_order():
    reverse = Does(lambda c: Candidates(c.ids[::-1], c.logits[::-1]))
    warped = Chain([reverse, First()], seed=0).warp(row(3, 2, 1))
    assert warped.ids.tolist() == [0, 1, 2]
    assert warped.logits.tolist() == [3, 2, 1]


@pytest.mark.parametrize(
    ("function", "complaint"),
    [
        (lambda c: c.keep(c.logits > 99), "left no candidate; a warp keeps at least one"),
        (
            lambda c: c.with_logits(np.full(len(c), -INF)),
            "set every logit to -inf; a warp keeps at least one candidate",
        ),
        (lambda c: c.with_logits(c.logits * NAN), "made a logit NaN"),
        (lambda c: c.logits, "returned ndarray instead of Candidates"),
        (lambda c: None, "returned NoneType instead of Candidates"),
        (lambda c: Candidates([1, 1], [0.0, 0.0]), "returned token 1 more than once"),
        (lambda c: Candidates([1, 3], [0.0, 0.0]), "returned token 3, which it was not given"),
        (lambda c: Candidates([-1, 1], [0.0, 0.0]), "returned token -1, which it was not given"),
        (lambda c: 1 / 0, "raised ZeroDivisionError: division by zero"),
        (lambda c: c.keep([True]), r"raised ValueError: keep needs one bool per candidate"),
    ],
)
def test_a_warp_that_breaks_its_contract_is_named(function, complaint):
    chain = Chain([Pass(), Does(function), First()], seed=0, names=["a", "sampler.does", "b"])
    with pytest.raises(PluginError) as caught:
        chain.choose(row(1, 2, 3))
    assert f"sampler.does (tests.core.sampling.steps:Does) {complaint}" in str(caught.value)
    assert caught.value.exit_code == 1


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        (1, "chose token 1, which is not among its candidates"),
        (3, "chose token 3, which is not among its candidates"),
        (-1, "chose token -1, which is not among its candidates"),
        ("0", "chose '0', which is not a token id"),
        (0.0, "chose 0.0, which is not a token id"),
        (None, "chose None, which is not a token id"),
    ],
)
def test_a_chooser_that_breaks_its_contract_is_named(answer, complaint):
    chain = Chain([Says(answer)], seed=0)
    with pytest.raises(PluginError) as caught:
        chain.choose(row(0, -INF, 2))
    assert str(caught.value) == f"Says (tests.core.sampling.steps:Says) {complaint}."
    assert not chain.tokens.size, "nothing was committed"


def test_a_step_that_raises_in_accept_is_named():
    class Stumbles(Pass):
        def accept(self, token, candidates):
            raise KeyError(token)

    with pytest.raises(PluginError, match=r"Stumbles.* raised KeyError: 0") as caught:
        Chain([Stumbles(), First()], seed=0).choose(row(0))
    assert isinstance(caught.value.__cause__, KeyError)


def test_an_error_meant_for_people_passes_through_a_step():
    def refuse(candidates):
        raise InputError("the grammar allows nothing here")

    with pytest.raises(InputError, match=r"^the grammar allows nothing here$"):
        Chain([Does(refuse), First()], seed=0).choose(row(0))


def test_a_chain_needs_a_step():
    with pytest.raises(InputError, match="end it with `greedy` or `draw`"):
        Chain([], seed=0)


def test_a_seed_is_not_negative():
    with pytest.raises(InputError, match="The seed is -1; it must be 0 or more"):
        Chain([First()], seed=-1)


def test_sampling_imports_neither_pydantic_nor_onnxruntime():
    code = (
        "import sys, triptych.core.sampling;"
        "print({'pydantic', 'onnxruntime', 'pluggy', 'transformers'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


class Unpicked:
    """Greedy that goes by candidates, as every other chooser does."""

    def __call__(self, candidates, context):
        return int(candidates.ids[np.argmax(candidates.logits)])


@pytest.mark.parametrize(
    "row",
    [
        [0.5, 2.0, 2.0, -1.0],
        [-np.inf, -3.0, -np.inf, -2.0],
        [1.0, np.inf, 3.0, np.inf],
        [1.0, -np.inf, np.inf, np.inf],
    ],
)
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_a_chooser_that_picks_of_the_bare_row_chooses_what_it_would_of_candidates(row, dtype):
    row = np.array(row, dtype)
    picked, plain = Chain([Greedy()], seed=0), Chain([Unpicked()], seed=0)
    assert picked.choose(row) == plain.choose(row)
    assert picked.tokens.tolist() == plain.tokens.tolist()


@pytest.mark.parametrize("row", [[1.0, np.nan, 2.0], [-np.inf, -np.inf], [np.nan, np.inf]])
def test_a_bare_row_that_nothing_can_be_chosen_of_is_refused_as_ever(row):
    chain = Chain([Greedy()], seed=0)
    with pytest.raises(LogitsError):
        chain.choose(np.array(row, np.float32))
    assert not chain.tokens.size


def test_a_pick_that_is_no_token_is_the_choosers_fault():
    class Outside(Unpicked):
        def pick(self, row):
            return row.size

    with pytest.raises(PluginError, match="not among its candidates"):
        Chain([Outside()], seed=0).choose(np.zeros(3, np.float32))

"""What each built-in step does, by arithmetic done by hand."""

import json
import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest
from pydantic import ValidationError
from scipy import stats

from tests.plugins.samplers.chains import chain, context, greedy, row, temperature, top_k, top_p
from triptych.core.sampling import Candidates, Chain, LogitsError
from triptych.plugins.samplers import manifest
from triptych.plugins.samplers.draw import Draw, _invert
from triptych.plugins.samplers.greedy import Greedy
from triptych.plugins.samplers.temperature import Temperature
from triptych.plugins.samplers.top_k import TopK
from triptych.plugins.samplers.top_p import TopP
from triptych.testing import check_sampler

INF = float("inf")


def ids(*steps, logits):
    return chain(*steps).warp(np.asarray(logits, np.float32)).ids.tolist()


# Order


def test_order_changes_the_result():
    # softmax of [6, 4, 2] is [.867, .117, .016]; of [3, 2, 1] it is [.665, .245, .090].
    assert ids(temperature(0.5), top_p(0.8), logits=[3, 2, 1]) == [0]
    assert ids(top_p(0.8), temperature(0.5), logits=[3, 2, 1]) == [0, 1]


# greedy


def test_greedy_chooses_the_largest_logit():
    assert chain(chooser=greedy()).choose(row(1, 5, 3)) == 1


def test_greedy_chooses_the_lowest_id_among_equals():
    assert chain(chooser=greedy()).choose(row(1, 5, 5, -INF, 5)) == 1


def test_greedy_draws_no_random_number():
    one = chain(chooser=greedy())
    one.choose(row(1, 2))
    assert one.rng.random() == chain().rng.random()


# draw


def test_draw_follows_the_probabilities():
    odds = np.array([1, 20, 7, 0.5, 4, 11])
    draws = chain(seed=11)
    logits = np.log(odds).astype(np.float32)
    counts = np.bincount([draws.choose(logits) for _ in range(20_000)], minlength=6)
    assert stats.chisquare(counts, 20_000 * odds / odds.sum()).pvalue > 0.001


def test_draw_follows_the_probabilities_over_many_blocks():
    rng = np.random.default_rng(2)
    logits = rng.standard_normal(3000).astype(np.float32)
    expected = np.exp(logits.astype(np.float64))
    expected /= expected.sum()
    draws = chain(seed=5)
    counts = np.bincount([draws.choose(logits) for _ in range(20_000)], minlength=3000)
    # Groups of 50 tokens: each is met often enough for the test, and lies across blocks.
    grouped = [part.reshape(-1, 50).sum(1) for part in (counts, 20_000 * expected)]
    assert stats.chisquare(*grouped).pvalue > 0.001


def test_the_default_chain_draws_what_its_warps_leave():
    logits = np.log([0.4, 0.3, 0.15, 0.1, 0.05]).astype(np.float32)
    # Temperature 0.5 squares: 1600, 900, 225, 100, 25. Of the first three, 0.9 is reached
    # by two (2500 of 2725), so 16 : 9 it is.
    draws = chain(temperature(0.5), top_k(3), top_p(0.9), seed=3)
    counts = np.bincount([draws.choose(logits) for _ in range(5000)], minlength=5)
    assert counts[2:].tolist() == [0, 0, 0]
    assert stats.chisquare(counts[:2], [3200, 1800]).pvalue > 0.001


@pytest.mark.parametrize("size", [1, 2, 600, 151_936])
def test_every_draw_takes_exactly_one_number(size):
    one, reference = chain(seed=4), np.random.Generator(np.random.PCG64(4))
    for _ in range(3):
        one.choose(np.zeros(size, np.float32))
    reference.random(3)
    assert one.rng.random() == reference.random()


@pytest.mark.parametrize("size", [3, 700])
@pytest.mark.parametrize("number", [0.0, 1 - 2**-53])
def test_a_token_without_weight_is_never_drawn(size, number):
    class Fixed:
        def random(self):
            return number

    # exp(-800) is 0 in float64: such tokens are first and last in their blocks.
    logits = np.full(size, -800.0)
    logits[1] = 0
    given = context()
    object.__setattr__(given, "rng", Fixed())
    assert Draw()(Candidates.of_row(logits), given) == 1


@pytest.mark.parametrize("aim", [1.0, 1.1])
def test_an_aim_that_rounding_lifted_to_the_total_meets_the_last_with_weight(aim):
    place, _ = _invert(np.array([0.5, 0.5, 0.0]), aim)
    assert place == 1


def test_the_number_decides_by_the_running_sum_in_order_of_ids():
    class Fixed:
        def __init__(self, number):
            self.number = number

        def random(self):
            return self.number

    logits = np.log([0.25, 0.5, 0.25])
    drawn = []
    for number in (0, 0.2499, 0.2501, 0.7499, 0.7501, 1 - 2**-53):
        given = context()
        object.__setattr__(given, "rng", Fixed(number))
        drawn.append(Draw()(Candidates.of_row(logits), given))
    assert drawn == [0, 0, 1, 1, 2, 2]


# temperature


def test_temperature_divides():
    assert chain(temperature(0.5)).warp(row(3, -2)).logits.tolist() == [6, -4]


def test_temperature_divides_in_float64():
    # In float32, 1 / 0.1 rounds to 10 as well, but 0.3 / 0.1 does not reach this quotient.
    expected = Fraction(float(np.float32(0.3))) / Fraction(0.1)
    assert chain(temperature(0.1)).warp(row(0.3)).logits[0] == float(expected)


def test_a_temperature_of_one_changes_nothing():
    candidates = Candidates.of_row(row(1, 2))
    assert temperature(1.0)(candidates, context()) is candidates


@pytest.mark.parametrize("value", [1e-6, 1e-30, 1e-300, 5e-324])
def test_the_coldest_temperatures_leave_the_winner_and_no_infinity(value):
    for logits in ([-1, -2, -3], [3e38, 2e38, -3e38], [0, -1, 0]):
        warped = chain(temperature(value)).warp(np.array(logits, np.float32))
        assert np.isfinite(warped.logits).all()
        assert chain(temperature(value)).choose(np.array(logits, np.float32)) in {0, 2}


def test_a_temperature_of_zero_points_to_greedy():
    for zero in (0, 0.0, -0.0):
        with pytest.raises(ValidationError) as caught:
            Temperature.Settings(temperature=zero)
        assert [error["msg"] for error in caught.value.errors()] == [
            "a temperature of 0 means the most likely token: "
            "write `greedy` instead of `temperature` and `draw`"
        ]


# top_k


def test_top_k_keeps_the_k_largest():
    assert ids(top_k(2), logits=[1, 4, 3, 2]) == [1, 2]


def test_top_k_keeps_all_that_equal_the_last():
    assert ids(top_k(2), logits=[3, 1, 3, 5, 3]) == [0, 2, 3, 4]


@pytest.mark.parametrize("k", [3, 4, 10**9])
def test_top_k_of_as_many_as_there_are_keeps_all(k):
    assert ids(top_k(k), logits=[1, 2, 3]) == [0, 1, 2]


def test_top_k_counts_no_token_that_cannot_be_chosen():
    assert ids(top_k(3), logits=[-INF, 2, -INF, 1]) == [1, 3]


@pytest.mark.parametrize("size", [640, 1000, 4096])
@pytest.mark.parametrize("k", [1, 2, 5, 8, 32])
@pytest.mark.parametrize("shape", ["rising", "falling", "flat", "crowded at the end"])
def test_top_k_of_adverse_rows_equals_a_full_sort(size, k, shape):
    logits = {
        "rising": np.arange(size),
        "falling": -np.arange(size),
        "flat": np.zeros(size),
        "crowded at the end": np.maximum(np.arange(size) - size + 20, 0),
    }[shape].astype(np.float32)
    kth = np.sort(logits)[-k]
    assert ids(top_k(k), logits=logits) == np.flatnonzero(logits >= kth).tolist()


# top_p


def test_top_p_keeps_the_fewest_that_hold_p():
    logits = np.log([0.1, 0.5, 0.15, 0.25])
    assert ids(top_p(0.45), logits=logits) == [1]
    assert ids(top_p(0.6), logits=logits) == [1, 3]
    assert ids(top_p(0.8), logits=logits) == [1, 2, 3]
    assert ids(top_p(0.95), logits=logits) == [0, 1, 2, 3]


def test_top_p_stops_where_the_sum_is_exactly_p():
    # Weights 4, 2, 1, 1 of 8: every sum is exact in binary.
    logits = np.log(2) * np.array([2, 1, 0, 0])
    assert chain(top_p(0.75)).warp(logits).ids.tolist() == [0, 1]


def test_top_p_always_keeps_the_winner():
    assert ids(top_p(1e-300), logits=[1, 3, 2]) == [1]


def test_top_p_of_one_keeps_all_however_unlikely():
    assert ids(top_p(1), logits=[0, -80, -3e38]) == [0, 1, 2]


def test_top_p_keeps_the_lowest_ids_among_equals():
    assert ids(top_p(0.5), logits=[0, 0, 0, 0]) == [0, 1]
    # Weights 1, 1, e, 1: e of 5.72 is .475, with one more .650.
    assert ids(top_p(0.6), logits=[0, 0, 1, 0]) == [0, 2]


def test_top_p_keeps_the_lowest_ids_among_thousands_of_equals():
    assert ids(top_p(0.25), logits=np.zeros(4000)) == list(range(1000))


@pytest.mark.parametrize("size", [31, 300])
def test_top_p_keeps_the_lowest_ids_among_equals_between_others(size):
    rng = np.random.default_rng(size)
    for p in np.linspace(0.05, 0.95, 40):
        weights = 2.0 ** rng.integers(0, 4, size)
        ranked = np.lexsort((np.arange(size), -weights))
        before = np.cumsum(weights[ranked]) - weights[ranked]
        expected = np.sort(ranked[before < p * weights.sum()])
        assert ids(top_p(p), logits=np.log(weights)) == expected.tolist()


def test_top_p_finds_a_crowd_below_an_outlier():
    # The winner weighs e^3 = 20.1, the others 1000 together; p = 0.5 takes 490 more of them.
    logits = np.zeros(1001)
    logits[500] = 3
    expected = int(np.ceil(0.5 * (1000 + np.exp(3)) - np.exp(3)))
    kept = ids(top_p(0.5), logits=logits)
    assert len(kept) == 1 + expected
    assert kept[:expected] == list(range(expected))
    assert kept[-1] == 500


@pytest.mark.parametrize("spread", [1e-320, 1e-200, 1e-35, 1e-12])
def test_top_p_of_logits_that_hardly_differ(spread):
    logits = spread * np.arange(2000.0)
    kept = chain(top_p(0.5)).warp(logits).ids
    assert abs(kept.size - 1000) <= 1
    if spread > 1e-300:
        assert kept.min() >= 999


# One token, no token


@pytest.mark.parametrize("step", [temperature(0.3), top_k(1), top_p(0.1)])
def test_a_vocabulary_of_one_token_stays(step):
    assert chain(step).choose(row(-3)) == 0


@pytest.mark.parametrize("step", [temperature(0.3), top_k(1), top_p(0.1)])
def test_nan_never_gets_as_far_as_a_warp(step):
    with pytest.raises(LogitsError, match="decoder gave NaN"):
        chain(step).choose(row(1, float("nan")))


def test_plus_infinity_decides_through_the_whole_chain():
    assert chain(temperature(0.7), top_k(2), top_p(0.9)).choose(row(1, INF, 5)) == 1


# Settings and manifest


@pytest.mark.parametrize(
    ("model", "values"),
    [
        (Temperature.Settings, {"temperature": -1}),
        (Temperature.Settings, {"temperature": INF}),
        (Temperature.Settings, {"temperature": float("nan")}),
        (Temperature.Settings, {"temperature": "0.7"}),
        (Temperature.Settings, {"temperature": True}),
        (Temperature.Settings, {}),
        (TopK.Settings, {"k": 0}),
        (TopK.Settings, {"k": 1.5}),
        (TopK.Settings, {"k": True}),
        (TopP.Settings, {"p": 0}),
        (TopP.Settings, {"p": 1.01}),
        (TopP.Settings, {"p": float("nan")}),
        (TopP.Settings, {"p": 0.5, "top_p": 0.5}),
    ],
)
def test_settings_out_of_range_are_refused(model, values):
    with pytest.raises(ValidationError):
        model(**values)


def test_an_int_is_a_temperature_and_a_p():
    assert Temperature.Settings(temperature=2).temperature == 2
    assert TopP.Settings(p=1).p == 1


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (Greedy, {}),
        (Draw, {}),
        (Temperature, {"temperature": 0.7}),
        (Temperature, {"temperature": 1}),
        (Temperature, {"temperature": 30.0}),
        (TopK, {"k": 1}),
        (TopK, {"k": 5}),
        (TopK, {"k": 100_000}),
        (TopP, {"p": 0.001}),
        (TopP, {"p": 0.5}),
        (TopP, {"p": 0.9}),
        (TopP, {"p": 1}),
    ],
)
def test_each_step_keeps_every_promise(kind, values):
    check_sampler(kind, **values)


def test_the_manifest_lists_what_can_be_built():
    for component in manifest.samplers():
        module, _, name = component.target.partition(":")
        kind = getattr(__import__(module, fromlist=[name]), name)
        assert (component.role == "warp") == hasattr(kind, "keeps_winner")
        if component.main:
            assert component.main in kind.Settings.model_fields
        elif component.role == "choose":
            assert Chain([kind()], seed=0).choose(row(1, 2)) in {0, 1}
        else:
            assert len(kind.Settings.model_fields) > 1


@pytest.mark.parametrize("plugin", ["samplers", "strategies"])
def test_a_manifest_imports_neither_numpy_nor_pydantic(plugin):
    code = (
        f"import sys, json, triptych.plugins.{plugin}.manifest;"
        "print(json.dumps([m for m in ('numpy', 'pydantic', 'onnxruntime') if m in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []

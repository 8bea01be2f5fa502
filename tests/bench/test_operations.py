"""Operations of a run, from events like those that ONNX Runtime writes, and from its own."""

import json

import numpy as np
import onnxruntime
import pytest

from triptych.bench.operations import Operations, ProfileError, count, runs_of
from triptych.bench.runtimes.one_product import FLOAT, INT8, product


def node(op, inputs, outputs, *, begin=0, lasted=1000):
    return {
        "cat": "Node",
        "ts": begin,
        "dur": lasted,
        "name": "any",
        "args": {
            "op_name": op,
            "input_type_shape": [{"float": list(shape)} for shape in inputs],
            "output_type_shape": [{"float": list(shape)} for shape in outputs],
        },
    }


def test_a_product_takes_two_operations_for_each_weight_and_row():
    found = count([node("MatMul", [(1, 7, 3), (3, 5)], [(1, 7, 5)])])
    assert (found.float32, found.int8) == (2 * 7 * 3 * 5, 0)


def test_packed_weights_are_products_of_integers():
    found = count([node("MatMulNBits", [(1, 7, 64), (5, 2, 16), (5, 2)], [(1, 7, 5)])])
    assert (found.float32, found.int8) == (0, 2 * 7 * 64 * 5)


def test_causal_attention_sees_itself_and_what_came_before():
    shapes = [(1, 3, 8), (1, 3, 4), (1, 3, 4)]
    # Of three tokens: 1 + 2 + 3 pairs; each takes a product with keys and one with values.
    assert count([node("GroupQueryAttention", shapes, [(1, 3, 8)])]).float32 == 4 * 6 * 8
    one = [(1, 1, 8), (1, 1, 4), (1, 1, 4)]
    found = count([node("GroupQueryAttention", one, [(1, 1, 8)])], seen=10)
    assert found.float32 == 4 * 11 * 8


def test_attention_within_a_picture_sees_everything():
    shapes = [(1, 5, 8), (1, 5, 8), (1, 5, 8)]
    assert count([node("MultiHeadAttention", shapes, [(1, 5, 8)])]).float32 == 4 * 25 * 8


def test_a_convolution_counts_its_window():
    found = count([node("Conv", [(1, 3, 8, 8), (6, 3, 2, 2)], [(1, 6, 4, 4)])])
    assert found.float32 == 2 * (6 * 4 * 4) * (3 * 2 * 2)


def test_seconds_are_added_up_by_node():
    found = count([node("Add", [(1,)], [(1,)]), node("Add", [(1,)], [(1,)], lasted=500)])
    assert found.seconds == {"Add": 0.0015}
    assert found.total == 0


def test_shares_leave_out_nodes_that_hold_others():
    events = [
        node("Loop", [(1,)], [(1,)], lasted=900),
        node("Add", [(1,)], [(1,)], lasted=100),
        node("Mul", [(1,)], [(1,)], lasted=300),
    ]
    shares = count(events).shares()
    assert list(shares) == ["Mul", "Add"]
    assert shares["Mul"] == pytest.approx(0.75)


def test_what_both_runs_took_is_left_out():
    both = Operations(float32=30, int8=40, seconds={"Add": 3.0, "Mul": 1.0})
    left = both.less(Operations(float32=10, int8=40, seconds={"Add": 1.0, "Mul": 2.0}))
    assert (left.float32, left.int8) == (20, 0)
    assert left.seconds == {"Add": 2.0, "Mul": 0.0}
    assert left.each_of(4) == Operations(5, 0, {"Add": 0.5, "Mul": 0.0})


def test_the_least_time_adds_both_arithmetics():
    assert Operations(float32=30, int8=40).least_seconds(10.0, 20.0) == 3 + 2


def test_events_are_told_apart_by_run(tmp_path):
    events = [
        {"cat": "Session", "name": "model_loading", "ts": 0, "dur": 5},
        {"cat": "Session", "name": "model_run", "ts": 10, "dur": 10},
        node("Add", [(1,)], [(1,)], begin=12, lasted=1),
        {"cat": "Session", "name": "model_run", "ts": 30, "dur": 10},
        node("Mul", [(1,)], [(1,)], begin=31, lasted=1),
        node("Sub", [(1,)], [(1,)], begin=35, lasted=1),
    ]
    path = tmp_path / "profile.json"
    path.write_text(json.dumps(events), encoding="utf-8")
    ops = [[event["args"]["op_name"] for event in run] for run in runs_of(path)]
    assert ops == [["Add"], ["Mul", "Sub"]]


def test_a_damaged_profile_is_told(tmp_path):
    path = tmp_path / "profile.json"
    path.write_text('[{"cat": "Node", "dur": nan', encoding="utf-8")
    with pytest.raises(ProfileError, match="cannot be read"):
        runs_of(path)


def test_what_onnxruntime_itself_writes_is_understood(tmp_path):
    random = np.random.default_rng(0)
    weights = random.random((6, 4), np.float32)
    options = onnxruntime.SessionOptions()
    options.use_per_session_threads = False
    options.enable_profiling = True
    options.profile_file_prefix = str(tmp_path / "profile")
    session = _session(product(weights.shape, weights.tobytes(), FLOAT), options)
    left = random.random((3, 6), np.float32)
    for _ in range(2):
        (found,) = session.run(None, {"left": left})
    np.testing.assert_allclose(found, left @ weights, rtol=1e-6)
    runs = runs_of(tmp_path / session.end_profiling())
    assert [count(run).float32 for run in runs] == [2 * 3 * 6 * 4] * 2


def test_the_product_of_integers_is_exact():
    random = np.random.default_rng(1)
    weights = random.integers(-127, 128, (6, 4), np.int8)
    left = random.integers(0, 256, (3, 6), np.uint8)
    options = onnxruntime.SessionOptions()
    options.use_per_session_threads = False
    session = _session(product(weights.shape, weights.tobytes(), INT8), options)
    (found,) = session.run(None, {"left": left})
    np.testing.assert_array_equal(found, left.astype(np.int32) @ weights.astype(np.int32))


def _session(model, options):
    """On the pool that all sessions of the process share, as pipelines have it."""
    from triptych.core.graphs.thread_pool import ThreadPool

    ThreadPool.join(None)
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

"""Sessions share one pool of threads, and buffers are extended in place."""

import json
import subprocess
import sys
import textwrap

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from triptych.core.graphs.errors import GraphError, SessionError
from triptych.core.graphs.graph import Graph
from triptych.core.graphs.header import GraphFileError
from triptych.core.graphs.onnx_stage import OnnxStage
from triptych.core.graphs.providers import available_providers
from triptych.core.graphs.thread_pool import cpu_threads
from triptych.core.ports import When
from triptych.core.stages import Runtime
from triptych.plugins.caches.full import Full


@pytest.fixture(scope="session")
def doubles(tmp_path_factory):
    """A graph from x float32 [n] to y, twice x."""
    node = helper.make_node("Add", ["x", "x"], ["y"])
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n"]) for name in "xy")
    path = tmp_path_factory.mktemp("graph") / "doubles.onnx"
    opset = [helper.make_opsetid("", 20)]
    model = helper.make_model(
        helper.make_graph([node], "g", [x], [y]), opset_imports=opset, ir_version=10
    )
    onnx.save(model, path)
    return path


def loaded(path, **runtime):
    graph = Graph(path)
    graph.load(Runtime(**runtime))
    return graph


# Threads: a pool belongs to a process, so each case has its own.

PRELUDE = """
import json, sys
import numpy as np
import onnxruntime
from pathlib import Path
from triptych.core.errors import TriptychError
from triptych.core.graphs.graph import Graph
from triptych.core.stages import Runtime

path = Path(sys.argv[1])
said = []

def theirs():
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

def ours(threads=None):
    try:
        graph = Graph(path)
        graph.load(Runtime(threads=threads))
        said.append(graph.run({"x": np.ones(2, np.float32)}, ["y"])["y"].tolist())
    except TriptychError as error:
        said.append(str(error))

"""


def in_a_process(script, path):
    """What the script noted, and how many threads it had at its end."""
    whole = (
        PRELUDE
        + textwrap.dedent(script)
        + (
            "\nthreads = len(list(Path('/proc/self/task').iterdir()))"
            "\nprint(json.dumps([said, threads]))"
        )
    )
    done = subprocess.run(
        [sys.executable, "-c", whole, path], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 1, done.stdout
    return json.loads(done.stdout)


def test_sessions_share_one_pool(doubles):
    _, few = in_a_process("ours(4)", doubles)
    said, many = in_a_process("for _ in range(6): ours(4)\nours()", doubles)
    assert said == [[2, 2]] * 7
    assert many == few


def test_a_session_that_somebody_made_before_does_no_harm(doubles):
    said, _ = in_a_process(
        "before = theirs()\nours(2)\nours()\n"
        "said.append(before.run(None, {'x': np.ones(1, np.float32)})[0].tolist())",
        doubles,
    )
    assert said == [[2, 2], [2, 2], [2]]


def test_a_pool_that_somebody_made_before_is_used(doubles):
    said, _ = in_a_process(
        "onnxruntime.set_global_thread_pool_sizes(3, 1)\nours(2)\nours()", doubles
    )
    assert said == [[2, 2], [2, 2]]


def test_the_pool_has_one_size(doubles):
    said, _ = in_a_process("ours(2)\nours(3)\nours()\nours(2)", doubles)
    assert said == [
        [2, 2],
        "session.threads: 3 threads are wanted, but the pipelines of this process share a pool of "
        "2; give all of them the same number, or 'auto'",
        [2, 2],
        [2, 2],
    ]


def test_auto_is_as_many_threads_as_cores_that_may_be_used():
    assert 1 <= cpu_threads() <= 16


@pytest.mark.parametrize(("said", "threads"), [("3", 3), ("24", 24), ("", None), ("many", None)])
def test_auto_is_what_an_environment_variable_says(monkeypatch, said, threads):
    monkeypatch.delenv("TRIPTYCH_THREADS", raising=False)
    unsaid = cpu_threads()
    monkeypatch.setenv("TRIPTYCH_THREADS", said)
    assert cpu_threads() == (threads or unsaid)


# Loading


def test_a_provider_that_is_missing_is_refused_with_what_is_there(doubles):
    with pytest.raises(SessionError) as error:
        loaded(doubles, providers=["cuda", "cpu"])
    assert error.value.exit_code == 2
    assert str(error.value) == (
        "session.providers: ONNX Runtime has no provider 'cuda' here; it has: "
        + ", ".join(available_providers())
    )
    assert "cpu" in available_providers()
    assert loaded(doubles, providers=["CPUExecutionProvider"])


def test_a_graph_that_cannot_be_loaded_names_its_file_and_prints_nothing(tmp_path, capfd):
    bad = helper.make_graph(
        [helper.make_node("NoSuchOperator", ["x"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n"])],
    )
    path = tmp_path / "bad.onnx"
    onnx.save(helper.make_model(bad, ir_version=10), path)
    with pytest.raises(GraphError) as error:
        loaded(path)
    assert str(error.value).startswith(f"{path}: ONNX Runtime cannot load it: ")
    assert "NoSuchOperator" in str(error.value)
    assert capfd.readouterr().out == ""


def test_a_provider_that_fails_is_an_error_and_not_another_provider(doubles, monkeypatch, capfd):
    import onnxruntime

    loaded(doubles)
    # A pool of its own is what ONNX Runtime refuses for a provider's reasons.
    monkeypatch.setattr(
        "triptych.core.graphs.session.session_options", lambda runtime: onnxruntime.SessionOptions()
    )
    with pytest.raises(GraphError, match="ONNX Runtime cannot load it"):
        loaded(doubles)
    assert capfd.readouterr().out == ""


def test_a_file_that_is_no_graph_is_refused_when_it_is_declared(tmp_path):
    path = tmp_path / "x.onnx"
    path.write_bytes(b"no graph at all")
    with pytest.raises(GraphFileError):
        Graph(path)


def test_a_run_that_fails_names_the_file_and_the_shapes(doubles):
    graph = loaded(doubles)
    with pytest.raises(GraphError) as error:
        graph.run({"x": np.ones((2, 3), np.float32)}, ["y"])
    assert str(error.value).startswith(f"{doubles}: ONNX Runtime failed on x float32 [2, 3]: ")


def test_inputs_may_be_read_only(doubles):
    x = np.ones(3, np.float32)
    x.flags.writeable = False
    assert loaded(doubles).run({"x": x}, ["y"])["y"].tolist() == [2, 2, 2]


def test_an_array_is_read_anew_by_each_run_whether_it_is_the_same_or_another(doubles):
    graph, steady = loaded(doubles), np.ones(2, np.float32)
    for value in (1, 2, 3, 4):
        steady[...] = value
        assert graph.run({"x": steady}, ["y"])["y"].tolist() == [2 * value] * 2
    for value in (5, 6):
        other = np.full(2, value, np.float32)
        assert graph.run({"x": other}, ["y"])["y"].tolist() == [2 * value] * 2
    assert steady.tolist() == [4, 4], "nobody writes into what was given"


# In place


class Decoder:
    """The decoder of an export, on a stage's own terms."""

    def __init__(self, folder):
        self.stage = OnnxStage(folder / "decoder.onnx", when=When.SPAN)
        self.stage.load(Runtime())
        self.cache = Full().make(self.stage.cache_pairs, 32, np.zeros)
        axes = {port.name: port.axes for port in self.stage.reads}
        self.hidden = axes["inputs_embeds"][-1]
        self.layers = axes["deepstack_embeds"][0]

    def forward(self, slot, embeds):
        """A copy of the logits of all rows of embeds [S, H], which go on after the slot's."""
        return self.run(slot, embeds).copy()

    def run(self, slot, embeds):
        """The logits, valid until the next run."""
        logits = self.stage(self.feeds(slot, embeds))["logits"][0]
        self.cache.settle([slot])
        return logits

    def feeds(self, slot, embeds):
        start, count = len(slot.index), len(embeds)
        binding = self.cache.bind([slot], [np.arange(start, start + count)])
        places = np.broadcast_to(np.arange(start, start + count), (3, 1, count))
        layers = self.layers if isinstance(self.layers, int) else 1
        return {
            "inputs_embeds": embeds[None],
            "position_ids": places,
            "deepstack_embeds": np.zeros((layers, 1, 1, self.hidden), np.float32),
            "logit_index": np.arange(count)[None],
            **binding.pasts,
            **binding.ports,
        }


@pytest.fixture(scope="module")
def decoder(tiny_pipeline):
    return Decoder(tiny_pipeline)


def embeds(decoder, count, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(count, decoder.hidden)).astype(np.float32)


def test_a_stage_takes_its_ports_from_the_graph_and_pairs_pasts_with_presents(decoder):
    stage = decoder.stage
    assert [port.name for port in stage.writes] == ["logits"]
    assert {pair.part for pair in stage.cache_pairs} == {"key", "value"}
    assert len(stage.cache_pairs) == 2 * (1 + max(pair.layer for pair in stage.cache_pairs))
    for pair in stage.cache_pairs:
        assert pair.past.name == f"past_key_values.{pair.layer}.{pair.part}"
        assert pair.present.name == f"present.{pair.layer}.{pair.part}"


def test_buffers_are_extended_in_place_and_give_what_one_pass_gives(decoder):
    given = embeds(decoder, 9)
    whole = decoder.forward(decoder.cache.lease(), given)
    slot = decoder.cache.lease()
    parts = [decoder.forward(slot, given[begin:end]) for begin, end in ((0, 4), (4, 5), (5, 9))]
    np.testing.assert_allclose(np.concatenate(parts), whole, atol=2e-5)
    past = next(iter(slot.pasts.values()))
    assert past[:, :, :9].any()
    assert not past[:, :, 9:].any()


def test_slots_do_not_see_each_other(decoder):
    alone = [decoder.forward(decoder.cache.lease(), embeds(decoder, 6, seed)) for seed in range(3)]
    slots = [decoder.cache.lease() for _ in range(3)]
    for begin in range(0, 6, 2):
        for seed, slot in enumerate(slots):
            logits = decoder.forward(slot, embeds(decoder, 6, seed)[begin : begin + 2])
            np.testing.assert_allclose(logits, alone[seed][begin : begin + 2], atol=2e-5)


def test_a_fork_goes_on_by_itself(decoder):
    slot = decoder.cache.lease()
    decoder.forward(slot, embeds(decoder, 4))
    fork = slot.fork()
    one = decoder.forward(slot, embeds(decoder, 2, seed=1))
    two = decoder.forward(fork, embeds(decoder, 2, seed=2))
    assert np.abs(one - two).max() > 0.01
    fresh = np.concatenate([embeds(decoder, 4), embeds(decoder, 2, seed=2)])
    expected = decoder.forward(decoder.cache.lease(), fresh)[4:]
    np.testing.assert_allclose(two, expected, atol=2e-5)


def test_a_slot_that_went_back_goes_on_as_if_nothing_had_been(decoder):
    given = embeds(decoder, 8)
    whole = decoder.forward(decoder.cache.lease(), given)
    slot = decoder.cache.lease()
    decoder.forward(slot, np.concatenate([given[:3], embeds(decoder, 5, seed=7)]))
    slot.truncate(3)
    np.testing.assert_allclose(decoder.forward(slot, given[3:]), whole[3:], atol=2e-5)


def test_memory_that_was_used_by_another_sequence_changes_nothing(decoder):
    first = decoder.cache.lease()
    decoder.forward(first, embeds(decoder, 20, seed=3))
    first.close()
    again = decoder.cache.lease()
    assert again.pasts is first.pasts
    fresh = decoder.forward(decoder.cache.lease(), embeds(decoder, 5))
    np.testing.assert_array_equal(decoder.forward(again, embeds(decoder, 5)), fresh)


def test_steps_of_one_shape_write_their_logits_to_one_place(decoder):
    slots = [decoder.cache.lease() for _ in range(2)]
    expected = [decoder.forward(decoder.cache.lease(), embeds(decoder, 1, n)) for n in range(2)]
    for _ in range(3):
        decoder.run(decoder.cache.lease(), embeds(decoder, 1))
    first, second = (decoder.run(slot, embeds(decoder, 1, n)) for n, slot in enumerate(slots))
    assert first is second or first.base is second.base
    np.testing.assert_array_equal(second, expected[1])
    again = decoder.run(decoder.cache.lease(), embeds(decoder, 1, 0))
    np.testing.assert_array_equal(again, expected[0])


def test_logits_of_another_shape_get_another_place(decoder):
    slot = decoder.cache.lease()
    for seed in range(3):
        step = decoder.run(slot, embeds(decoder, 1, seed))
    held = step.copy()
    decoder.run(slot, embeds(decoder, 2))
    np.testing.assert_array_equal(step, held)


def test_bindings_in_turn_that_are_fed_the_same_arrays_write_each_its_own_shape(decoder):
    def again(count):
        feeds = decoder.feeds(decoder.cache.lease(), embeds(decoder, count))

        def run():
            return decoder.stage(feeds)["logits"][0].copy()

        return run

    one, two = again(1), again(2)
    expected = one(), two()
    for run in (one, one, one, two, two, two, one, two, one, one):
        np.testing.assert_array_equal(run(), expected[run is two])


def test_inputs_that_change_in_place_are_read_as_they_are_now(decoder):
    given = embeds(decoder, 1, 1)
    slots = [decoder.cache.lease() for _ in range(3)]
    decoder.run(slots[0], given)
    expected = decoder.forward(slots[1], embeds(decoder, 1, 2))
    given[...] = embeds(decoder, 1, 2)
    np.testing.assert_array_equal(decoder.run(slots[2], given), expected)


def test_bindings_are_kept_for_as_many_slots_as_there_may_be_and_no_more(decoder, monkeypatch):
    monkeypatch.setattr("triptych.core.graphs.graph._MOST_BINDINGS", 2)
    decoder.stage.graph._bindings.clear()
    alone = decoder.forward(decoder.cache.lease(), embeds(decoder, 3))
    slots = [decoder.cache.lease() for _ in range(4)]
    for place in range(3):
        for slot in slots:
            logits = decoder.forward(slot, embeds(decoder, 3)[place : place + 1])
            np.testing.assert_allclose(logits[0], alone[place], atol=2e-5)
    assert len(decoder.stage.graph._bindings) == 2


def test_a_wrong_input_names_the_file_and_leaves_the_slot_as_it_was(decoder):
    slot = decoder.cache.lease()
    decoder.forward(slot, embeds(decoder, 3))
    with pytest.raises(GraphError, match=r"decoder.onnx: ONNX Runtime failed on .*inputs_embeds"):
        decoder.forward(slot, np.zeros((2, decoder.hidden + 1), np.float32))
    assert len(slot.index) == 3
    expected = decoder.forward(decoder.cache.lease(), embeds(decoder, 5))[3:]
    np.testing.assert_allclose(decoder.forward(slot, embeds(decoder, 5)[3:]), expected, atol=2e-5)


def test_a_provider_that_could_not_be_started_is_an_error(doubles, monkeypatch):
    # Without CUDA's libraries, ONNX Runtime goes on with the CPU alone.
    import onnxruntime

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    monkeypatch.setattr(onnxruntime, "preload_dlls", lambda: None)
    real = onnxruntime.InferenceSession
    monkeypatch.setattr(
        onnxruntime,
        "InferenceSession",
        lambda path, sess_options, **_: real(
            path, sess_options, providers=["CPUExecutionProvider"]
        ),
    )
    with pytest.raises(GraphError, match="CUDAExecutionProvider could not be started"):
        loaded(doubles, providers=["cuda"])

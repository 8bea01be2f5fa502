"""A device's memory: what lives there, what is copied when, and that tokens stay the same.

No GPU is needed: a provider that computes on the CPU is declared to have a memory of its own, and
its io-bindings copy what is bound from the CPU when it is bound, as those of a GPU do.
"""

import numpy as np
import pytest

from triptych import Request
from triptych.core.config_error import ConfigError
from triptych.core.errors import InputError
from triptych.core.graphs import device as devices
from triptych.core.graphs.device import Device, copy_rows, reserve_on
from triptych.core.pipeline import load
from triptych.core.wiring.placement import NEVER, ON_READ, REWRITTEN, TO_DEVICE, TO_HOST
from triptych.recording import Recorder, Recording, Replay, compare

PROVIDER = "CPUExecutionProvider"
PRETENDED = Device("cuda", "cpu", PROVIDER)


class Copying:
    """An io-binding that copies what is bound from the CPU when it is bound."""

    def __init__(self, binding, log):
        self._binding = binding
        self._log = log
        self._copies = {}

    def bind_cpu_input(self, name, array):
        self._log.append(name)
        self._copies[name] = np.array(array)
        self._binding.bind_cpu_input(name, self._copies[name])

    def __getattr__(self, name):
        return getattr(self._binding, name)


@pytest.fixture
def copied(monkeypatch):
    """The names of inputs that were copied to the device; `cuda` is what the CPU pretends to be."""
    import onnxruntime

    log = []
    real = onnxruntime.InferenceSession.io_binding
    run = onnxruntime.InferenceSession.run_with_iobinding
    monkeypatch.setitem(devices.DEVICES, PROVIDER, PRETENDED)
    monkeypatch.setattr(
        onnxruntime.InferenceSession,
        "io_binding",
        lambda self: Copying(real(self), log) if PROVIDER in devices.DEVICES else real(self),
    )
    monkeypatch.setattr(
        onnxruntime.InferenceSession,
        "run_with_iobinding",
        lambda self, one, options=None: run(self, getattr(one, "_binding", one), options),
    )
    return log


def sketch(**overrides):
    return load(
        "sketch", overrides={"session.max_context": 512, "session.preload": True, **overrides}
    )


def placed(pipeline):
    return {(one.stage, one.port): one for one in pipeline.placements}


def test_on_a_cpu_nothing_is_copied():
    assert {(one.device, one.copied) for one in placed(sketch()).values()} == {("cpu", NEVER)}


def test_on_a_device_pasts_stay_and_graphs_hand_on_what_they_write(copied):
    plan = placed(sketch())
    embeds, read = plan["embeddings", "inputs_embeds"], plan["decoder", "inputs_embeds"]
    assert (embeds.device, embeds.role, embeds.copied) == ("cuda", "output", ON_READ)
    assert (read.device, read.role, read.copied) == ("cuda", "input", REWRITTEN)
    assert plan["embeddings", "input_ids"].copied == TO_DEVICE
    assert plan["decoder", "logits"].copied == TO_HOST
    assert plan["decoder", "position_ids"].copied == TO_DEVICE
    assert plan["vision_encoder", "image_features"].copied == TO_HOST
    pasts = [one for one in plan.values() if one.role == "past"]
    assert pasts
    assert {(one.device, one.copied) for one in pasts} == {("cuda", NEVER)}


def test_a_step_copies_neither_embeddings_nor_pasts(copied):
    pipeline = sketch()
    pipeline.generate("What is the capital of France?", **GREEDY)
    names = set(copied)
    assert "input_ids" in names
    assert "attention_mask" in names
    assert "inputs_embeds" not in names
    assert not any(name.startswith("past") for name in names)


def test_a_cache_that_attention_reads_in_float16_stays_on_the_device(copied, tmp_path):
    import shutil
    from pathlib import Path

    import triptych
    from triptych.export.kv_cache import cache_form, store_cache

    folder = tmp_path / "sketch"
    shutil.copytree(Path(triptych.__file__).parent / "models" / "sketch" / "pipeline", folder)
    store_cache(folder / "decoder.onnx", cache_form("fp16"))
    pipeline = load(folder, overrides={"session.max_context": 512, "session.preload": True})
    pasts = [one for one in pipeline.placements if one.role == "past"]
    assert {(one.device, one.copied) for one in pasts} == {("cuda", NEVER)}
    replies = pipeline.generate_batch([Request(text, settings=LONG) for text in QUESTIONS])
    assert [reply.text for reply in replies]
    assert "attention_mask" in copied
    assert not any(name.startswith("past") for name in copied)


def test_what_does_not_change_is_copied_once(copied):
    pipeline = sketch()
    pipeline.generate("Hi", **GREEDY)
    copied.clear()
    pipeline.generate("Hi", **LONG)
    steps = copied.count("input_ids")
    assert steps > 10
    # Zeros that stand for pictures: once for the prompt, once for the steps.
    assert copied.count("deepstack_embeds") <= 2


def test_tokens_are_those_of_the_cpu(copied, monkeypatch, picture):
    asked = [{"images": [picture]}, {}]
    said = [sketch().generate("What is at the top left?", **one, **LONG).tokens for one in asked]
    monkeypatch.delitem(devices.DEVICES, PROVIDER)
    assert said == [
        sketch().generate("What is at the top left?", **one, **LONG).tokens for one in asked
    ]


def test_sequences_decode_together_over_a_pool_on_the_device(copied, monkeypatch):
    requests = [Request(text, settings=LONG) for text in QUESTIONS]
    there = sketch()
    assert there._executor.alone_because is None
    said = [reply.tokens for reply in there.generate_batch(requests)]
    monkeypatch.delitem(devices.DEVICES, PROVIDER)
    assert said == [reply.tokens for reply in sketch().generate_batch(requests)]


@pytest.mark.parametrize("strategy", ["prompt_lookup", {"beam_search": {"width": 3}}])
def test_strategies_that_go_back_and_fork_give_the_same(copied, monkeypatch, strategy):
    def said():
        pipeline = sketch(strategy=strategy, sampler=["greedy"])
        return [pipeline.generate(text, max_new_tokens=12).tokens for text in QUESTIONS]

    there = said()
    monkeypatch.delitem(devices.DEVICES, PROVIDER)
    assert there == said()


def test_what_runs_until_a_port_is_given_as_numpy(copied):
    assert type(sketch().run_until("inputs_embeds", "Hi")) is np.ndarray


def test_what_is_recorded_on_a_device_is_what_a_cpu_records_and_plays_back(
    copied, monkeypatch, picture, tmp_path
):
    asked = {"images": [picture], **LONG}
    there = sketch().generate("What is here?", observer=Recorder(tmp_path / "gpu"), **asked)
    monkeypatch.delitem(devices.DEVICES, PROVIDER)
    sketch().generate("What is here?", observer=Recorder(tmp_path / "cpu"), **asked)
    assert compare(Recording(tmp_path / "gpu"), Recording(tmp_path / "cpu")).same
    for ports in (["image_features", "deepstack_features"], ["inputs_embeds", "deepstack_embeds"]):
        replay = Replay(tmp_path / "gpu", ports=ports)
        assert sketch().generate("What is here?", observer=replay, **asked).tokens == there.tokens


def test_a_device_is_given_what_was_recorded_elsewhere(copied, monkeypatch, picture, tmp_path):
    asked = {"images": [picture], **LONG}
    with monkeypatch.context() as here:
        here.delitem(devices.DEVICES, PROVIDER)
        said = sketch().generate("What is here?", observer=Recorder(tmp_path / "cpu"), **asked)
    for ports in (["image_features", "deepstack_features"], ["inputs_embeds", "deepstack_embeds"]):
        replay = Replay(tmp_path / "cpu", ports=ports)
        assert sketch().generate("What is here?", observer=replay, **asked).tokens == said.tokens


def test_a_window_is_refused_where_rows_cannot_be_moved(copied, tmp_path):
    with pytest.raises(ConfigError, match="keeps them on cuda"):
        sketch(**{"stages.decoder.cache": {"window": {"size": 32}}})


# Arrays


def filled(shape, dtype, seed=0):
    array = reserve_on(PRETENDED)(shape, dtype)
    numbers = np.random.default_rng(seed).integers(0, 100, shape).astype(dtype)
    array.memory.update_inplace(numbers)
    return array, numbers


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8", "uint8"])
def test_a_row_is_copied_to_another_row_and_nowhere_else(dtype):
    source, numbers = filled((4, 2, 5, 3), dtype)
    target = reserve_on(PRETENDED)((3, 2, 5, 3), dtype)
    copy_rows(source[1:2], target[2:3], 5)
    np.testing.assert_array_equal(target.numpy()[2], numbers[1])
    assert not target.numpy()[:2].any()


def test_a_range_of_rows_is_a_view():
    array, numbers = filled((6, 2, 3), "float32")
    view = array[1:5][1:3]
    assert (view.shape, view.ndim, len(view), view.nbytes) == ((2, 2, 3), 3, 2, 48)
    assert view.pointer == array.pointer + 2 * 24
    np.testing.assert_array_equal(view, numbers[2:4])
    with pytest.raises(TypeError, match="first axis only"):
        array[:, 1]
    with pytest.raises(ValueError, match="must be copied"):
        np.asarray(array, copy=False)


def test_memory_that_a_device_does_not_have_is_refused_with_the_remedy():
    missing = Device("cuda", "cuda", "CUDAExecutionProvider")
    with pytest.raises(InputError, match=r"cannot be kept on cuda; lower session\.max_context"):
        reserve_on(missing)((1, 2, 3, 4), "float32")


QUESTIONS = ["What is the capital of France?", "Name a colour.", "What is the capital of Spain?"]
GREEDY = {"sampler": ["greedy"]}
LONG = {"sampler": [{"min_new_tokens": 16}, "greedy"], "max_new_tokens": 20}

"""Training: the batched forward is transformers' own, and a run can be stopped and resumed."""

from __future__ import annotations

from pathlib import Path
from random import Random

import numpy as np
import pytest
import torch
from transformers import Qwen3VLForConditionalGeneration

from triptych.models.sketch import trainer as trainer_module
from triptych.models.sketch.accuracy import measure, table
from triptych.models.sketch.architecture import build_model
from triptych.models.sketch.batches import collate, encode, pixel_patches
from triptych.models.sketch.checkpoint import load_checkpoint, save_checkpoint
from triptych.models.sketch.conversations import draw_conversation
from triptych.models.sketch.forward import AuxiliaryHeads, hidden_states, losses
from triptych.models.sketch.optimizer import FLOOR, learning_share
from triptych.models.sketch.parallel import Team
from triptych.models.sketch.reference import Reference
from triptych.models.sketch.schedule import (
    FIRST_GOAL,
    LENGTH,
    RESTART,
    Schedule,
    ScheduleError,
    phase_at,
)
from triptych.models.sketch.tokenizer import train_tokenizer
from triptych.models.sketch.train import train
from triptych.models.sketch.trainer import Options, Trainer

TOKENIZER = train_tokenizer(600, conversations=200)


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def _small_vocabulary(monkeypatch):
    monkeypatch.setattr(trainer_module, "train_tokenizer", lambda _: TOKENIZER)


def test_the_batched_forward_is_that_of_transformers() -> None:
    model = build_model(0)
    conversations = [draw_conversation(Random(s), ((100, 140), (64, 200))) for s in range(8)]
    batch = collate(conversations, TOKENIZER)
    ordered = sorted(conversations, key=lambda one: len(encode(one, TOKENIZER)[0]))
    seen = [pixel_patches(scene.image) for one in ordered for scene in one.scenes]
    pixels = np.concatenate(
        [np.repeat(p.reshape(-1, 3, 1, 256), 2, axis=2).reshape(len(p), -1) for p, _ in seen]
    )
    with torch.no_grad():
        hidden, _, _ = hidden_states(model, batch)
        expected = model(
            input_ids=torch.from_numpy(batch.input_ids),
            attention_mask=torch.from_numpy(batch.attention_mask),
            pixel_values=torch.from_numpy(pixels).float() / 127.5 - 1.0,
            image_grid_thw=torch.tensor([[1, *grid] for _, grid in seen]),
            mm_token_type_ids=torch.from_numpy(batch.input_ids == 5).int(),
        ).logits
        ours = model.lm_head(hidden)
    real = torch.from_numpy(batch.attention_mask) == 1
    assert (ours - expected)[real].abs().max() < 1e-5
    # The positions come from numpy here and from transformers there: both at once were tested.
    assert len({grid for _, grid in seen}) > 1


def test_text_alone_has_no_auxiliary_loss() -> None:
    model = build_model(0)
    heads = AuxiliaryHeads(160, 192, TOKENIZER)
    talk = [one for one in (draw_conversation(Random(s), ((64, 64), (64, 64))) for s in range(80))
            if not one.scenes]  # fmt: skip
    answers, auxiliary = losses(model, heads, collate(talk[:3], TOKENIZER))
    assert float(auxiliary) == 0.0
    # Fresh weights know nothing: about the logarithm of the vocabulary.
    assert answers.item() == pytest.approx(np.log(1024), abs=0.7)


def options(out: Path, **changes) -> Options:
    given = {"steps": 4, "minutes": None, "processes": 1, "conversations": 2} | changes
    return Options(out, **given)


@pytest.mark.usefixtures("_small_vocabulary")
def test_a_resumed_run_ends_with_the_weights_of_an_uninterrupted_one(tmp_path: Path) -> None:
    whole = Trainer(options(tmp_path / "whole"), Team())
    whole.run()

    torch.manual_seed(99)  # resuming must not depend on the generator's state
    stopped = Trainer(options(tmp_path / "parts"), Team())
    stopped.schedule.start()
    stopped.sums = trainer_module.Sums(0.0)
    for step in range(2):
        stopped.train_step(step / 4, save_now=False)
    stopped.save()
    resumed = Trainer(options(tmp_path / "parts", resume=True), Team())
    assert resumed.step == 2
    resumed.run()

    first, second = whole.model.state_dict(), resumed.model.state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    fresh = build_model(0).state_dict()
    matrices = [name for name, weight in first.items() if weight.ndim > 1]
    assert not any(torch.equal(first[name], fresh[name].half().float()) for name in matrices)


def test_one_seed_gives_one_model(tmp_path: Path) -> None:
    """Two runs in two processes each, as the README trains: the same file, bit for bit."""
    files = []
    for name in ("first", "second"):
        train(options(tmp_path / name, processes=2, conversations=4))
        files.append((tmp_path / name / "checkpoint" / "model.safetensors").read_bytes())
    assert files[0] == files[1]


def test_a_checkpoint_is_half_precision_and_what_was_rounded(tmp_path: Path) -> None:
    model = build_model(3)
    save_checkpoint(model, TOKENIZER, tmp_path)
    loaded, tokenizer = load_checkpoint(tmp_path)
    weights = model.state_dict()
    assert all(torch.equal(weights[n], w) for n, w in loaded.state_dict().items())
    assert all(torch.equal(w, w.half().float()) for w in weights.values())
    assert tokenizer.get_vocab() == TOKENIZER.get_vocab()
    as_stored = Qwen3VLForConditionalGeneration.from_pretrained(tmp_path)
    assert as_stored.dtype == torch.float16
    assert loaded.generation_config.eos_token_id == [2, 0]
    assert not loaded.generation_config.do_sample
    # Graphs, the head's copy of the embeddings and the tokenizer must fit in 12 MB.
    size = sum(path.stat().st_size for path in tmp_path.iterdir()) + 2 * 1024 * 192
    assert size < 11_850_000


def test_evaluation_generates_in_batches_what_it_generates_alone(tmp_path: Path) -> None:
    save_checkpoint(build_model(3), TOKENIZER, tmp_path)
    reference = Reference(tmp_path)
    reference.model.generation_config.max_new_tokens = 8
    asked = []

    def answer(questions):
        asked.extend(questions)
        return reference.answer(questions, max_new_tokens=6)

    scores = measure(answer, per_task=2, tasks=("color", "compare", "capital"))
    together = reference.answer(asked, max_new_tokens=6)
    assert together == [reference.answer([one], max_new_tokens=6)[0] for one in asked]
    assert [score.total for score in scores] == [2, 2, 2]


def test_an_answer_counts_when_it_is_the_very_text() -> None:
    def oracle(questions):
        return [q.answer if index else f"{q.answer}." for index, q in enumerate(questions)]

    scores = measure(oracle, per_task=4, tasks=("color", "capital"))
    assert [score.right for score in scores] == [3, 3]
    assert scores[0].misses[0][1].endswith(".")
    assert table({"a": scores, "b": scores}).splitlines()[2] == (
        "| color | 95 % | 75.0 % | 75.0 % |"
    )


def test_rates_warm_up_and_fall_to_the_floor_twice() -> None:
    assert learning_share(0, 0.0) == pytest.approx(0.01)
    assert learning_share(99, 0.0) == pytest.approx(1.0)
    assert learning_share(5000, FIRST_GOAL / 2) == pytest.approx((1 + FLOOR) / 2)
    before, after = (learning_share(9000, RESTART + gap) for gap in (-1e-9, 1e-9))
    assert before < 0.04
    assert after > 0.3
    assert learning_share(9999, 1.0) == pytest.approx(FLOOR)


def test_pictures_grow_and_questions_change_with_the_run() -> None:
    steps = (0, 3299, 3300, 4699, 4700, 5800, 9000, 11_599)
    phases = [phase_at(step / LENGTH) for step in steps]
    assert [phase.side for phase in phases] == [96, 96, 128, 128, 192, 192, 192, 192]
    mixes = ["broad", "broad", "broad", "broad", "broad", "drill", "places", "places"]
    assert [phase.mix for phase in phases] == mixes
    assert Schedule(10, None).progress(5) == 0.5


def test_a_run_without_an_end_is_refused() -> None:
    with pytest.raises(ScheduleError, match="--steps or --minutes"):
        Schedule(None, None).progress(0)

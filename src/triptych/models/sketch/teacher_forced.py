"""A quick look at a model in training: are the right answers its likeliest ones?

Teacher-forced: each token of an answer is judged after the right tokens before it. Free
generation, which `evaluate` measures, can only be as good or worse.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from tokenizers import Tokenizer
from transformers import Qwen3VLForConditionalGeneration

from triptych.models.sketch.batches import Batch, collate
from triptych.models.sketch.conversations import TASKS, held_out_conversation
from triptych.models.sketch.forward import answer_logits, hidden_states

SEED = 1_000_003
"""Held-out seed of these tests, another one than `evaluate` uses."""

PER_TASK = 24


def held_out_batches(tokenizer: Tokenizer, per_task: int = PER_TASK) -> Iterator[tuple[str, Batch]]:
    """One batch of held-out conversations per task."""
    for task in TASKS:
        conversations = [held_out_conversation(task, index, seed=SEED) for index in range(per_task)]
        yield task, collate(conversations, tokenizer)


def answer_accuracy(
    model: Qwen3VLForConditionalGeneration, batches: Iterable[tuple[str, Batch]]
) -> dict[str, float]:
    """Share of last answers, by task, whose every token is the likeliest one."""
    shares = {}
    for task, batch in batches:
        with torch.no_grad():
            hidden, _, _ = hidden_states(model, batch)
            logits, targets, _ = answer_logits(model, hidden, batch)
        hit = torch.zeros(batch.input_ids.shape, dtype=torch.bool)
        hit[torch.from_numpy(batch.answer_weight > 0)] = logits.argmax(-1) == targets
        right = 0
        for row, tasks in enumerate(batch.tasks):
            last = torch.from_numpy(batch.answer_turn[row] == len(tasks) - 1)
            right += bool(hit[row][last].all())
        shares[task] = right / len(batch.tasks)
    return shares

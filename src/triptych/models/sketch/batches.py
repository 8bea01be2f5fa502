"""Conversations as arrays: what one training step, or one teacher-forced test, reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tokenizers import Tokenizer

from triptych.models.sketch.conversations import MIXES, Conversation, draw_conversation
from triptych.models.sketch.labels import merge_order, patch_labels
from triptych.models.sketch.schedule import Phase
from triptych.models.sketch.sizes import MERGE, PATCH, Size, draw_size, places, resized
from triptych.models.sketch.tokenizer import (
    IM_END,
    IM_START,
    IMAGE_PAD,
    SPECIAL,
    VISION_END,
    VISION_START,
)

SIZES_PER_BATCH = 4
"""Pictures of a batch come in so few sizes that those of one size can be computed together."""

Grid = tuple[int, int]
"""Height and width of a picture in patches."""


@dataclass(frozen=True)
class Batch:
    """B conversations of at most S tokens with P patches in N visual tokens."""

    input_ids: NDArray[np.int64]
    """[B, S], padded on the right."""
    attention_mask: NDArray[np.int64]
    """[B, S]"""
    position_ids: NDArray[np.int64]
    """[3, B, S]"""
    answer_weight: NDArray[np.float32]
    """[B, S]: weight of predicting this token; 0 outside answers."""
    answer_turn: NDArray[np.int64]
    """[B, S]: number of the answer that a token belongs to, -1 outside."""
    groups: tuple[tuple[int, Grid], ...]
    """How many pictures of which grid, in the order of `patches`."""
    patches: NDArray[np.uint8]
    """[P, 3*16*16], grouped by grid."""
    visual_order: NDArray[np.int64]
    """[N]: row of the merged features for each visual token in reading order."""
    content: NDArray[np.int64]
    """[P]"""
    color: NDArray[np.int64]
    """[P]"""
    tasks: tuple[tuple[str, ...], ...]
    """Per conversation, the task of each answer."""


def pixel_patches(image: Image.Image) -> tuple[NDArray[np.uint8], Grid]:
    """uint8 [patches, 3*16*16] in Qwen's patch order, after the image processor's resize."""
    height, width = resized((image.height, image.width))
    if (width, height) != image.size:
        image = image.resize((width, height), Image.Resampling.BICUBIC)
    patches = merge_order(np.asarray(image), PATCH)
    flat = patches.transpose(0, 3, 1, 2).reshape(len(patches), -1)
    return np.ascontiguousarray(flat).astype(np.uint8), (height // PATCH, width // PATCH)


def mrope_positions(ids: Sequence[int], grids: Sequence[Grid]) -> NDArray[np.int64]:
    """3D rotary positions of one sequence, int64 [3, S] (Qwen2-VL, arXiv 2409.12191, 2.1)."""
    image_pad = SPECIAL.index(IMAGE_PAD)
    columns: list[NDArray[np.int64]] = []
    start, at, remaining = 0, 0, iter(grids)
    while at < len(ids):
        if ids[at] == image_pad:
            height, width = (side // MERGE for side in next(remaining))
            row, column = np.divmod(np.arange(height * width), width)
            columns.append(np.stack([np.zeros_like(row), row, column]) + start)
            start += max(height, width)
            at += height * width
        else:
            columns.append(np.full((3, 1), start, np.int64))
            start += 1
            at += 1
    return np.concatenate(columns, axis=1)


def encode(
    conversation: Conversation, tokenizer: Tokenizer
) -> tuple[list[int], list[float], list[int]]:
    """Ids, weights and turns (as in `Batch`) of one conversation, as the chat template has it.

    A short answer weighs as much per question as a long one per half its tokens: weights are one
    over the square root of the answer's length.
    """
    ids: list[int] = []
    weights: list[float] = []
    turns: list[int] = []

    def add(text: str, turn: int = -1) -> None:
        new = tokenizer.encode(text).ids
        ids.extend(new)
        weights.extend([0.0 if turn < 0 else len(new) ** -0.5] * len(new))
        turns.extend([turn] * len(new))

    if conversation.system:
        add(f"{IM_START}system\n{conversation.system}{IM_END}\n")
    for number, turn in enumerate(conversation.turns):
        pictures = "".join(
            VISION_START + IMAGE_PAD * places((scene.image.height, scene.image.width)) + VISION_END
            for scene in turn.scenes
        )
        question = turn.exchange.question
        add(f"{IM_START}user\n{pictures}{question}{IM_END}\n{IM_START}assistant\n")
        add(f"{turn.exchange.answer}{IM_END}", number)
        add("\n")
    return ids, weights, turns


def collate(conversations: Sequence[Conversation], tokenizer: Tokenizer) -> Batch:
    """One batch of conversations, shortest first, pictures grouped by their grid."""
    pairs = [(conversation, encode(conversation, tokenizer)) for conversation in conversations]
    pairs.sort(key=lambda pair: len(pair[1][0]))
    conversations = [conversation for conversation, _ in pairs]
    encoded = [one for _, one in pairs]
    batch, length = len(encoded), max(len(ids) for ids, _, _ in encoded)
    scenes = [scene for conversation in conversations for scene in conversation.scenes]
    seen = [pixel_patches(scene.image) for scene in scenes]
    labels = [patch_labels(scene) for scene in scenes]
    order = sorted(range(len(scenes)), key=lambda index: seen[index][1])

    input_ids = np.zeros((batch, length), np.int64)
    attention_mask = np.zeros((batch, length), np.int64)
    position_ids = np.zeros((3, batch, length), np.int64)
    answer_weight = np.zeros((batch, length), np.float32)
    answer_turn = np.full((batch, length), -1, np.int64)
    picture = 0
    for row, (conversation, (ids, weights, turns)) in enumerate(
        zip(conversations, encoded, strict=True)
    ):
        number = len(conversation.scenes)
        grids = [grid for _, grid in seen[picture : picture + number]]
        picture += number
        size = len(ids)
        input_ids[row, :size], attention_mask[row, :size] = ids, 1
        position_ids[:, row, :size] = mrope_positions(ids, grids)
        answer_weight[row, :size], answer_turn[row, :size] = weights, turns

    counts = [len(patches) // MERGE**2 for patches, _ in seen]
    starts, offset = [0] * len(scenes), 0
    groups: list[tuple[int, Grid]] = []
    for index in order:
        starts[index], offset = offset, offset + counts[index]
        grid = seen[index][1]
        if groups and groups[-1][1] == grid:
            groups[-1] = (groups[-1][0] + 1, grid)
        else:
            groups.append((1, grid))
    ranges = [np.arange(start, start + count) for start, count in zip(starts, counts, strict=True)]
    nothing = np.zeros(0, np.int64)
    return Batch(
        input_ids, attention_mask, position_ids, answer_weight, answer_turn,
        groups=tuple(groups),
        patches=np.concatenate([np.zeros((0, 3 * PATCH * PATCH), np.uint8),
                                *(seen[index][0] for index in order)]),
        visual_order=np.concatenate([nothing, *ranges]),
        content=np.concatenate([nothing, *(labels[index][0] for index in order)]),
        color=np.concatenate([nothing, *(labels[index][1] for index in order)]),
        tasks=tuple(tuple(t.exchange.task for t in one.turns) for one in conversations),
    )  # fmt: skip


def _similar_sizes(random: Random, side: int, *, any_size: bool) -> list[Size]:
    """A few picture sizes of about the same number of visual tokens, so that little is padded."""
    sizes = [draw_size(random, side, any_size=any_size)]
    wanted = places(sizes[0])
    for _ in range(60):
        if len(sizes) == SIZES_PER_BATCH:
            break
        size = draw_size(random, side, any_size=any_size)
        if abs(places(size) - wanted) <= 0.2 * wanted:
            sizes.append(size)
    return sizes


def training_batch(
    tokenizer: Tokenizer, seed: int, step: int, shard: int, *, count: int, phase: Phase
) -> Batch:
    """A shard of a training step's batch: a pure function of its arguments.

    The shards of one step have pictures of the same sizes, so that they cost about the same.
    """
    random = Random(f"train {seed} {step} sizes")
    sizes = _similar_sizes(random, phase.side, any_size=phase.any_size)
    random = Random(f"train {seed} {step} {shard}")
    conversations = [
        draw_conversation(
            random, (random.choice(sizes), random.choice(sizes)), mix=MIXES[phase.mix]
        )
        for _ in range(count)
    ]
    return collate(conversations, tokenizer)

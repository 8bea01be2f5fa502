"""The model's forward pass for a whole training batch at once.

The same function as `Qwen3VLForConditionalGeneration` computes (tested), but pictures of one
size attend together instead of one after the other, and the head runs on answers only.
Attention is written out: the backward pass of PyTorch's fused one takes five times as long on a
CPU in bfloat16 (12 against 3 ms for 4 sequences of 170 tokens). `hidden_states` expects the same
of the text part: `model.set_attn_implementation("eager")`.
"""

from __future__ import annotations

import functools
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional
from transformers import Qwen3VLForConditionalGeneration
from transformers.models.qwen3_vl.modeling_qwen3_vl import (
    Qwen3VLVisionModel,
    apply_rotary_pos_emb_vision,
)
from transformers.vision_utils import (
    get_vision_interpolation_indices_and_weights,
    get_vision_position_ids,
)

from triptych.models.sketch.batches import Batch, Grid
from triptych.models.sketch.labels import IGNORE
from triptych.models.sketch.palette import COLORS
from triptych.models.sketch.scenes import CONTENTS, LETTERS
from triptych.models.sketch.shapes import SHAPES
from triptych.models.sketch.sizes import MERGE

LENGTH_GROUPS = 3
"""A batch is sorted by length and decoded in so many parts, so that little of it is padding."""

LIKENESS = 12.0
"""What a cosine of 1 counts in the naming loss."""

NOTHING_WEIGHT = 0.3
"""Weight of patches without content in the auxiliary loss; most patches are such."""


NAMES = (*SHAPES, "word", "number")
"""What questions call the things in a picture."""


def _name_of(content: str) -> int:
    if content in SHAPES:
        return NAMES.index(content)
    if content in LETTERS:
        return NAMES.index("number" if content.isdigit() else "word")
    return IGNORE


NAME_OF_CONTENT = tuple(_name_of(content) for content in CONTENTS)


class AuxiliaryHeads(nn.Module):
    """While training only: name content and colour of each patch, before and after the merge.

    Beyond that, a merged place that shows a circle is drawn towards the embedding of the very
    token " circle", and so for colours: a question that names a thing then finds it by likeness.
    Without this the model sees all and still tells the colour of the wrong thing.
    """

    name_tokens: Tensor
    color_tokens: Tensor

    def __init__(self, vision_hidden: int, text_hidden: int, tokenizer: Tokenizer) -> None:
        super().__init__()
        for title, words in (("name_tokens", NAMES), ("color_tokens", COLORS)):
            ids = [tokenizer.encode(f" {word}").ids[0] for word in words]
            self.register_buffer(title, torch.tensor(ids), persistent=False)
        classes = len(CONTENTS) + len(COLORS)
        self.patch = nn.Linear(vision_hidden, classes)
        self.place = nn.Linear(text_hidden, classes * MERGE * MERGE)

    def naming_loss(self, places: Tensor, embeddings: Tensor, batch: Batch) -> Tensor:
        """Cross-entropy of names and colours as likeness of places [N, text] to tokens [V, text].

        Each patch that shows something asks its place for its name; patches of ground do not.
        """
        content, color = torch.from_numpy(batch.content), torch.from_numpy(batch.color)
        names = torch.tensor(NAME_OF_CONTENT)[content]
        shown = names >= 0
        total = torch.zeros(())
        if not shown.any():
            return total
        of_patches = places.repeat_interleave(MERGE * MERGE, dim=0)[shown].float()
        of_patches = LIKENESS * functional.normalize(of_patches, dim=1)
        for tokens, wanted in ((self.name_tokens, names), (self.color_tokens, color)):
            directions = functional.normalize(embeddings[tokens], dim=1)
            logits = functional.linear(of_patches, directions).float()
            total = total + functional.cross_entropy(logits, wanted[shown])
        return total / 2

    def loss(self, patches: Tensor, places: Tensor, batch: Batch) -> Tensor:
        """Mean of the patches' [P, vision] and the merged places' [N, text] cross-entropies."""
        content, color = torch.from_numpy(batch.content), torch.from_numpy(batch.color)
        weight = torch.ones(len(CONTENTS))
        weight[0] = NOTHING_WEIGHT
        total = torch.zeros(())
        for logits in (
            self.patch(patches),
            self.place(places).reshape(len(content), -1),
        ):
            of_content, of_color = logits.float().split((len(CONTENTS), len(COLORS)), dim=1)
            total = total + functional.cross_entropy(of_content, content, weight)
            # A batch of nothing but two-coloured patterns has no colour to name.
            named = (color >= 0).sum().clamp(min=1)
            total = total + functional.cross_entropy(of_color, color, reduction="sum") / named
        return total / 2


@functools.lru_cache(maxsize=256)
def _grid_geometry(grid: Grid, side: int) -> tuple[Tensor, Tensor, Tensor]:
    """Position-table taps and weights [patches, 4] and (row, column) [patches, 2] of a grid."""
    thw = torch.tensor([[1, *grid]])
    taps, weights = get_vision_interpolation_indices_and_weights(
        thw, num_grid_per_side=side, mode="bilinear", align_corners=True,
        spatial_merge_size=MERGE,
    )  # fmt: skip
    return taps, weights, get_vision_position_ids(thw, MERGE)


def see(visual: Qwen3VLVisionModel, batch: Batch) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Last hidden state [P, vision], merged features [N, text] and DeepStack features."""
    taps, weights, rows = zip(
        *(
            tuple(part.repeat(count, 1) for part in _grid_geometry(grid, visual.num_grid_per_side))
            for count, grid in batch.groups
        ),
        strict=True,
    )
    pixels = torch.from_numpy(batch.patches).float() / 127.5 - 1.0
    projection = visual.patch_embed.proj
    # Both frames of the temporal patch are the same picture, so their kernels add up.
    kernel = projection.weight.sum(2).flatten(1)
    hidden = functional.linear(pixels, kernel, projection.bias)
    table = visual.pos_embed(torch.cat(taps)) * torch.cat(weights)[:, :, None]
    hidden = hidden + table.sum(1)
    cos, sin = visual.rotary_pos_emb(hidden, torch.cat(rows))

    deepstack = []
    blocks: list[Any] = list(visual.blocks)
    for index, block in enumerate(blocks):
        hidden = hidden + _attend(block.attn, block.norm1(hidden), cos, sin, batch)
        hidden = hidden + block.mlp(block.norm2(hidden))
        if index in visual.deepstack_visual_indexes:
            merger = visual.deepstack_merger_list[visual.deepstack_visual_indexes.index(index)]
            deepstack.append(merger(hidden))
    return hidden, visual.merger(hidden), deepstack


def _attend(attention: Any, hidden: Tensor, cos: Tensor, sin: Tensor, batch: Batch) -> Tensor:
    heads = attention.num_heads
    query, key, value = attention.qkv(hidden).reshape(len(hidden), 3, heads, -1).unbind(1)
    query, key = apply_rotary_pos_emb_vision(query, key, cos, sin)
    sizes = [count * grid[0] * grid[1] for count, grid in batch.groups]
    parts = zip(
        batch.groups,
        query.to(value.dtype).split(sizes), key.to(value.dtype).split(sizes), value.split(sizes),
        strict=True,
    )  # fmt: skip
    attended = []
    for (count, _), *qkv in parts:
        q, k, v = (part.reshape(count, -1, heads, part.shape[-1]).transpose(1, 2) for part in qkv)
        scores = torch.matmul(q * attention.scaling, k.transpose(2, 3))
        out = torch.matmul(torch.softmax(scores, dim=-1, dtype=torch.float32).to(v.dtype), v)
        attended.append(out.transpose(1, 2).reshape(-1, heads * out.shape[-1]))
    projected: Tensor = attention.proj(torch.cat(attended))
    return projected


def hidden_states(
    model: Qwen3VLForConditionalGeneration, batch: Batch
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Text hidden states [B, S, H], and for the auxiliary heads patches and places."""
    core = model.model
    ids = torch.from_numpy(batch.input_ids)
    embeds = core.language_model.embed_tokens(ids)
    visual_mask, deepstack, patches, places = None, None, None, None
    if len(batch.patches):
        patches, places, features = see(core.visual, batch)
        order = torch.from_numpy(batch.visual_order)
        visual_mask = ids == model.config.image_token_id
        embeds = embeds.masked_scatter(
            visual_mask[..., None], places.index_select(0, order).to(embeds.dtype)
        )
        deepstack = [feature.index_select(0, order) for feature in features]
    mask = torch.from_numpy(batch.attention_mask)
    position_ids = torch.from_numpy(batch.position_ids)
    states, seen = [], 0
    for rows in torch.arange(len(ids)).chunk(LENGTH_GROUPS):
        part = slice(int(rows[0]), int(rows[-1]) + 1)
        length = int(mask[part].sum(1).max())
        visual: Tensor | None = None
        layers: list[Tensor] | None = None
        if visual_mask is not None and deepstack is not None:
            visual = visual_mask[part, :length]
            count = int(visual.sum())
            layers = [feature[seen : seen + count] for feature in deepstack]
            seen += count
        output = core.language_model(
            inputs_embeds=embeds[part, :length],
            attention_mask=mask[part, :length],
            position_ids=position_ids[:, part, :length],
            visual_pos_masks=visual,
            deepstack_visual_embeds=layers,
            use_cache=False,
        )
        states.append(functional.pad(output.last_hidden_state, (0, 0, 0, ids.shape[1] - length)))
    return torch.cat(states), patches, places


def answer_logits(
    model: Qwen3VLForConditionalGeneration, hidden: Tensor, batch: Batch
) -> tuple[Tensor, Tensor, Tensor]:
    """Logits [A, V], targets [A] and weights [A] of all answer tokens of the batch."""
    weights = torch.from_numpy(batch.answer_weight)[:, 1:]
    wanted = weights > 0
    targets = torch.from_numpy(batch.input_ids)[:, 1:][wanted]
    return model.lm_head(hidden[:, :-1][wanted]), targets, weights[wanted]


def losses(
    model: Qwen3VLForConditionalGeneration, heads: AuxiliaryHeads, batch: Batch
) -> tuple[Tensor, Tensor]:
    """The loss of the answers, and the auxiliary loss."""
    hidden, patches, places = hidden_states(model, batch)
    logits, targets, weights = answer_logits(model, hidden, batch)
    each = functional.cross_entropy(logits.float(), targets, reduction="none")
    auxiliary = torch.zeros(())
    if patches is not None and places is not None:
        auxiliary = heads.loss(patches, places, batch)
        auxiliary = auxiliary + heads.naming_loss(places, model.lm_head.weight, batch)
    return (each * weights).sum() / weights.sum(), auxiliary

"""The optimizer pair of sketch: Muon for matrices, AdamW for all else, on one schedule."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from triptych.models.sketch.muon import Muon
from triptych.models.sketch.parallel import SHARDS, Team
from triptych.models.sketch.schedule import descent
from triptych.models.sketch.sizes import MERGE

MUON_PEAK = 8e-3
ADAM_PEAK = 2e-3
WARM_UP_STEPS = 100
FLOOR = 0.01
"""The cosine ends at this share of the peak."""

WIDE = 512
"""Square matrices from this side on are mergers'."""

CLIP = 1.0
"""Largest norm of all gradients together."""


def learning_share(step: int, progress: float) -> float:
    """Share of the peak rates: linear warm-up by steps, then a cosine, down which they go twice."""
    cosine = FLOOR + (1 - FLOOR) * 0.5 * (1 + math.cos(math.pi * min(1.0, descent(progress))))
    return min(1.0, (step + 1) / WARM_UP_STEPS) * cosine


def _blocks(shape: torch.Size) -> int:
    """The mergers' first maps read four patches side by side: a block for each.

    Whole, these three maps took more than half of Muon's time.
    """
    places = MERGE * MERGE
    return places if shape[0] == shape[1] and shape[0] >= WIDE else 1


class Optimizers:
    """Muon (momentum 0.95) over the matrices of blocks and mergers, AdamW over the rest.

    Embeddings, heads, norms, biases and convolutions are not maps between hidden spaces, which
    is what Muon's orthogonal updates are for; they go to AdamW. Muon's work is dealt out to the
    processes of the team; AdamW's is little and done by each.
    """

    def __init__(self, model: nn.Module, heads: nn.Module, team: Team) -> None:
        matrices: list[nn.Parameter] = []
        rest = [*heads.parameters()]
        for name, parameter in model.named_parameters():
            inner = parameter.ndim == 2 and "embed" not in name and "lm_head" not in name
            (matrices if inner else rest).append(parameter)
        self.team = team
        self.parameters = [*matrices, *rest]
        # Dealt out by size, so that both parts cost about the same.
        matrices.sort(key=lambda matrix: -matrix.numel())
        self.parts = [matrices[part::SHARDS] for part in range(SHARDS)]
        self.muon = [
            Muon(part, lr=MUON_PEAK, momentum=0.95, weight_decay=0.01, blocks=_blocks)
            for part in self.parts
        ]
        self.adam = torch.optim.AdamW(rest, lr=ADAM_PEAK, betas=(0.9, 0.98), weight_decay=0.01)

    def step(self, step: int, progress: float) -> float:
        """Clip, apply and clear the summed gradients; gives their norm before clipping."""
        share = learning_share(step, progress)
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, CLIP)
        for optimizer, peak in (*((muon, MUON_PEAK) for muon in self.muon), (self.adam, ADAM_PEAK)):
            for group in optimizer.param_groups:
                group["lr"] = peak * share
        for part in self.team.shards:
            self.muon[part].step()
        self.adam.step()
        for part, matrices in enumerate(self.parts):
            self.team.share(matrices, self.team.owner(part))
        for parameter in self.parameters:
            parameter.grad = None
        return float(norm)

    def state(self) -> dict[str, Any]:
        """All state, on rank 0; every process must call this together."""
        mine = {part: self.muon[part].state_dict() for part in self.team.shards}
        muon: dict[int, Any] = {}
        for other in self.team.collect(mine):
            muon |= other
        return {"muon": muon, "adam": self.adam.state_dict()}

    def load(self, state: dict[str, Any]) -> None:
        """Take over what `state` gave."""
        for part, muon in state["muon"].items():
            self.muon[part].load_state_dict(muon)
        self.adam.load_state_dict(state["adam"])

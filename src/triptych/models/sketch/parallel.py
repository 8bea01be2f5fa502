"""Two single-threaded processes that share each training step.

Thousands of small parallel regions per step make threads wait for each other whenever anything
else runs on the machine (measured: 0.5 s a step alone, 2 to 10 s beside one busy process). Here
the processes meet three times a step.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

SHARDS = 2
"""Parts of a step's batch; one process computes both, or two processes one each."""


class Team:
    """The processes of a run: this one's rank, and what they exchange."""

    def __init__(self, rank: int = 0, size: int = 1, meeting: Path | None = None) -> None:
        self.rank, self.size = rank, size
        if size > 1:
            os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
            dist.init_process_group("gloo", f"file://{meeting}", rank=rank, world_size=size)

    @property
    def shards(self) -> range:
        """The shards of each step that this process computes."""
        return range(self.rank, SHARDS, self.size)

    def owner(self, shard: int) -> int:
        """The rank that computes a shard."""
        return shard % self.size

    def sum_gradients(self, parameters: Sequence[Tensor], extra: list[float]) -> list[float]:
        """Add up the gradients of all processes in place; `extra` numbers likewise."""
        if self.size == 1:
            return extra
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        flat = torch.cat([torch.tensor(extra), *(gradient.flatten() for gradient in gradients)])
        dist.all_reduce(flat)
        at = len(extra)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            end = at + gradient.numel()
            parameter.grad = flat[at:end].view_as(gradient)
            at = end
        return [float(number) for number in flat[: len(extra)]]

    def share(self, parameters: Sequence[Tensor], owner: int) -> None:
        """Give every process the values that `owner` has."""
        if self.size == 1:
            return
        flat = torch.cat([parameter.detach().flatten() for parameter in parameters])
        dist.broadcast(flat, owner)
        if self.rank == owner:
            return
        at = 0
        with torch.no_grad():
            for parameter in parameters:
                end = at + parameter.numel()
                parameter.copy_(flat[at:end].view_as(parameter))
                at = end

    def collect(self, mine: Any) -> list[Any]:
        """On rank 0, what every process gave, by rank; elsewhere an empty list."""
        if self.size == 1:
            return [mine]
        gathered: list[Any] | None = [None] * self.size if self.rank == 0 else None
        dist.gather_object(mine, gathered)
        return gathered or []

    def leave(self) -> None:
        """Part from the other processes."""
        if self.size > 1:
            dist.destroy_process_group()

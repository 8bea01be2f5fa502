"""Muon: momentum, made orthogonal (Keller Jordan, https://kellerjordan.github.io/posts/muon/).

The same steps as `torch.optim.Muon` with `adjust_lr_fn="original"` (tested), at half its cost:
matrices of one shape are worked on together, and a wide matrix may be split into blocks of
columns that are made orthogonal one by one.
"""

from __future__ import annotations

import collections
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of the quintic Newton-Schulz iteration, which drives singular values to about 1."""

ITERATIONS = 5
EPSILON = 1e-7


def orthogonalize(matrices: Tensor) -> Tensor:
    """The nearest semi-orthogonal matrices, roughly: [count, rows, columns], in bfloat16."""
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.to(torch.bfloat16)
    x = x.transpose(1, 2) if tall else x
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=EPSILON)
    a, b, c = COEFFICIENTS
    for _ in range(ITERATIONS):
        gram = x @ x.transpose(1, 2)
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.transpose(1, 2) if tall else x


class Muon(torch.optim.Optimizer):
    """Muon with Nesterov momentum and decoupled weight decay, for matrices only.

    blocks: into how many blocks of columns a matrix is split, by its shape; 1 for most. The
    entries of the update keep their size: a block of a square matrix has one over the square
    root of its rows as root mean square, as the whole has.
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        *,
        lr: float,
        momentum: float = 0.95,
        weight_decay: float = 0.0,
        blocks: Callable[[torch.Size], int] = lambda _: 1,
    ) -> None:
        super().__init__(
            list(parameters), {"lr": lr, "momentum": momentum, "weight_decay": weight_decay}
        )
        self.blocks = blocks

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Apply the gradients."""
        del closure
        for group in self.param_groups:
            shapes: dict[torch.Size, list[nn.Parameter]] = collections.defaultdict(list)
            for parameter in group["params"]:
                if parameter.grad is not None:
                    shapes[parameter.shape].append(parameter)
            for shape, parameters in shapes.items():
                self._step_together(group, shape, parameters)

    def _step_together(
        self, group: dict[str, Any], shape: torch.Size, parameters: list[nn.Parameter]
    ) -> None:
        updates = []
        for parameter in parameters:
            gradient = parameter.grad
            if gradient is None:
                continue
            state = self.state[parameter]
            if "momentum_buffer" not in state:
                state["momentum_buffer"] = torch.zeros_like(gradient)
            buffer = state["momentum_buffer"]
            buffer.lerp_(gradient, 1 - group["momentum"])
            updates.append(gradient.lerp(buffer, group["momentum"]))
        blocks = self.blocks(shape)
        stacked = torch.stack(updates)
        split = torch.cat(stacked.chunk(blocks, dim=2))
        whole = torch.cat(orthogonalize(split).chunk(blocks, dim=0), dim=2)
        rate = group["lr"] * max(1.0, shape[0] / shape[1]) ** 0.5
        for parameter, update in zip(parameters, whole, strict=True):
            parameter.mul_(1 - group["lr"] * group["weight_decay"])
            parameter.add_(update, alpha=-rate)

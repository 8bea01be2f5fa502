"""Our Muon takes the steps of PyTorch's."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from triptych.models.sketch.muon import Muon, orthogonalize


def matrices() -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(5)
    shapes = [(96, 32), (32, 96), (96, 32), (64, 64)]
    return [nn.Parameter(torch.randn(shape, generator=generator) * 0.05) for shape in shapes]


def test_steps_are_those_of_pytorch() -> None:
    ours, theirs = matrices(), matrices()
    settings = {"lr": 8e-3, "momentum": 0.95, "weight_decay": 0.01}
    one = Muon(ours, **settings)
    other = torch.optim.Muon(theirs, **settings, adjust_lr_fn="original")
    generator = torch.Generator().manual_seed(6)
    for _ in range(4):
        for mine, its in zip(ours, theirs, strict=True):
            mine.grad = torch.randn(mine.shape, generator=generator)
            its.grad = mine.grad.clone()
        one.step()
        other.step()
    for mine, its, start in zip(ours, theirs, matrices(), strict=True):
        moved = (its - start).abs().max()
        assert moved > 5e-3
        # bfloat16 rounds products of a stack and of single matrices a little differently.
        assert (mine - its).abs().max() < 0.02 * moved


def test_blocks_are_orthogonal_one_by_one_and_their_entries_as_large_as_the_whole_s() -> None:
    generator = torch.Generator().manual_seed(7)
    gradient = torch.randn(128, 128, generator=generator)
    updates = []
    for blocks in (1, 4):
        weight = nn.Parameter(torch.zeros(128, 128))
        weight.grad = gradient.clone()
        optimizer = Muon([weight], lr=1.0, blocks=lambda _, count=blocks: count)
        optimizer.step()
        updates.append(weight.detach())
    whole, split = updates
    assert split.square().mean() == pytest.approx(whole.square().mean().item(), rel=0.25)
    for block in split.chunk(4, dim=1):
        singular = torch.linalg.svdvals(block)
        assert singular.min() > 0.6
        assert singular.max() < 1.3


def test_orthogonal_matrices_stay_so() -> None:
    basis, _ = torch.linalg.qr(torch.randn(48, 16, generator=torch.Generator().manual_seed(8)))
    out = orthogonalize(basis[None])[0].float()
    assert torch.nn.functional.cosine_similarity(out.flatten(), basis.flatten(), dim=0) > 0.99

"""Two processes that share a step add up, hand on and collect what one would have alone."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import torch

from triptych.models.sketch.parallel import SHARDS, Team

PROGRAM = """
import json, sys
from pathlib import Path
import torch
from triptych.models.sketch.parallel import Team

rank = int(sys.argv[1])
team = Team(rank, 2, Path(sys.argv[2]))
first, second = torch.full((2, 2), float(rank)), torch.zeros(3)
first.requires_grad_(), second.requires_grad_()
first.grad = torch.full((2, 2), 1.0 + rank)   # 1 and 2; the second has none on rank 1
if rank == 0:
    second.grad = torch.full((3,), 5.0)
numbers = team.sum_gradients([first, second], [0.5, float(rank == 0)])
sums = [first.grad.tolist(), second.grad.tolist()]
team.share([first], owner=1)
collected = team.collect({"rank": rank})
print(json.dumps([list(team.shards), numbers, sums, first.tolist(), collected]))
team.leave()
"""


def test_two_processes_meet(tmp_path: Path) -> None:
    command = [sys.executable, "-c", PROGRAM]
    running = [
        subprocess.Popen([*command, rank, tmp_path / "meeting"], stdout=subprocess.PIPE, text=True)
        for rank in "01"
    ]
    said = [json.loads(one.communicate(timeout=120)[0].splitlines()[-1]) for one in running]
    for rank, (shards, numbers, sums, shared, collected) in enumerate(said):
        assert shards == [rank]
        assert numbers == [1.0, 1.0]
        assert sums == [[[3.0, 3.0], [3.0, 3.0]], [5.0, 5.0, 5.0]]
        assert shared == [[1.0, 1.0], [1.0, 1.0]]
        assert collected == ([{"rank": 0}, {"rank": 1}] if rank == 0 else [])


def test_one_process_does_the_work_of_both() -> None:
    team = Team()
    assert list(team.shards) == list(range(SHARDS))
    assert team.owner(1) == 0
    weight = torch.ones(2, requires_grad=True)
    weight.grad = torch.ones(2)
    assert team.sum_gradients([weight], [2.0]) == [2.0]
    assert weight.grad.tolist() == [1.0, 1.0]
    assert team.collect("state") == ["state"]

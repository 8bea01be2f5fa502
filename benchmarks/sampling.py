"""How long a token takes to choose: the chain against the same steps on a masked vocabulary.

    python benchmarks/sampling.py [--vocabulary 151936]

Prints microseconds of processor time per choice, the median of repeated runs, both ways side
by side with their ratio: for a peaked row, as a language model gives, and for flatter ones.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from triptych.core.sampling import Chain
from triptych.plugins.samplers.draw import Draw
from triptych.plugins.samplers.greedy import Greedy
from triptych.plugins.samplers.temperature import Temperature
from triptych.plugins.samplers.top_k import TopK
from triptych.plugins.samplers.top_p import TopP

Row = npt.NDArray[np.floating]
Masked = Callable[[Row], Row]


def masked_temperature(temperature: float) -> Masked:
    """Divide every logit."""
    return lambda logits: logits / temperature


def masked_top_k(k: int) -> Masked:
    """Set all but the k largest to -inf."""
    return lambda logits: np.where(logits < np.partition(logits, -k)[-k], -np.inf, logits)


def masked_top_p(p: float) -> Masked:
    """Sort the vocabulary, set what the nucleus lacks to -inf."""

    def warp(logits: Row) -> Row:
        order = np.argsort(logits)
        weights = np.exp(logits[order] - logits.max())
        cumulative = np.cumsum(weights / weights.sum())
        masked = logits.copy()
        masked[order[:-1][cumulative[:-1] <= 1 - p]] = -np.inf
        return masked

    return warp


def masked_draw(logits: Row, rng: np.random.Generator) -> int:
    """Draw from the softmax of the whole vocabulary."""
    weights = np.exp(logits - logits.max())
    return int(rng.choice(logits.size, p=weights / weights.sum()))


def masked_choose(warps: list[Masked], row: Row, rng: np.random.Generator | None) -> int:
    """The plain version of `Chain.choose`."""
    logits = row.astype(np.float64)
    for warp in warps:
        logits = warp(logits)
    return int(logits.argmax()) if rng is None else masked_draw(logits, rng)


def microseconds(call: Callable[[], Any], *, seconds: float = 0.2) -> float:
    """The median time of `call`, over as many runs as fit into `seconds`.

    Processor time: all of it is one thread, and what else the machine does is left out.
    """
    call()
    times = []
    end = time.process_time() + seconds
    while time.process_time() < end:
        start = time.process_time()
        call()
        times.append(time.process_time() - start)
    return 1e6 * statistics.median(times)


def chains() -> dict[str, tuple[list[Any], list[Masked]]]:
    """Each chain by name, as steps of ours and as plain functions."""
    temperature = Temperature(Temperature.Settings(temperature=0.7))
    top_k, top_k_20 = TopK(TopK.Settings(k=50)), TopK(TopK.Settings(k=20))
    top_p = TopP(TopP.Settings(p=0.9))
    warm, nucleus = masked_temperature(0.7), masked_top_p(0.9)
    return {
        "greedy": ([Greedy()], []),
        "draw": ([Draw()], []),
        "top_p 0.9, draw": ([top_p, Draw()], [nucleus]),
        "temperature, top_p 0.9, draw": ([temperature, top_p, Draw()], [warm, nucleus]),
        "temperature, top_k 20, top_p 0.9, draw": (
            [temperature, top_k_20, top_p, Draw()],
            [warm, masked_top_k(20), nucleus],
        ),
        "temperature, top_k 50, top_p 0.9, draw": (
            [temperature, top_k, top_p, Draw()],
            [warm, masked_top_k(50), nucleus],
        ),
    }


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--vocabulary", type=int, default=151_936)
    size = parser.parse_args().vocabulary
    rng = np.random.default_rng(0)
    peaked = (2.5 * rng.standard_normal(size)).astype(np.float32)
    peaked[rng.choice(size, 40)] += np.linspace(6, 20, 40, dtype=np.float32)
    rows = {
        "peaked": peaked,
        "gaussian": (2.5 * rng.standard_normal(size)).astype(np.float32),
        "temperature 2": (1.25 * rng.standard_normal(size)).astype(np.float32),
        "nearly flat": (0.01 * rng.standard_normal(size)).astype(np.float32),
        "all equal": np.zeros(size, np.float32),
    }
    print(f"{'chain':42}{'row':14}{'ours us':>10}{'masked us':>11}{'ratio':>8}")
    for name, (steps, warps) in chains().items():
        for kind, row in rows.items():
            chain = Chain(steps, seed=0)
            generator = None if name == "greedy" else np.random.default_rng(0)
            ours = microseconds(lambda: chain.choose(row))  # noqa: B023
            plain = microseconds(lambda: masked_choose(warps, row, generator))  # noqa: B023
            print(f"{name:42}{kind:14}{ours:10.0f}{plain:11.0f}{plain / ours:8.1f}")


if __name__ == "__main__":
    main()

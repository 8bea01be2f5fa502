"""How many of sketch's descriptions are valid under a JSON Schema, and what that costs.

    python benchmarks/constrained.py [--scenes 1000]

Each picture is described with and without `constrain`, greedily and at a temperature of 2. Valid
means: it parses, and fits the schema. The cost of a constrained token is the ratio of the seconds
per token, pictures taken in turn.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import triptych
from tests.end_to_end.test_constrained import CHAINS, is_valid, replies


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--scenes", type=int, default=1000)
    options = parser.parse_args()
    pipe = triptych.load()
    print(f"{'':24}{'valid':>14}{'at the end':>14}{'ms a token':>14}")
    for chain in CHAINS:
        for constrained in (True, False):
            valid = ended = tokens = 0
            seconds = 0.0
            for reply in replies(pipe, options.scenes, chain, constrained=constrained):
                valid += is_valid(reply.text)
                ended += reply.finish_reason == "eos"
                tokens += len(reply.tokens)
                seconds += reply.timings.decode
            name = f"{chain}, {'constrained' if constrained else 'free'}"
            of = f"/{options.scenes}"
            print(f"{name:24}{valid:>8}{of:>6}{ended:>8}{of:>6}{1000 * seconds / tokens:>14.2f}")


if __name__ == "__main__":
    main()

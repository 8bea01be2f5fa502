"""What the decoder's graph takes: single steps and prompts, of several exports in turn.

    python benchmarks/decoder.py EXPORT [OTHER ...] [--decode 32 2000] [--prefill 512]
                                 [--profile] [--threads 2]

Runs each export's decoder.onnx by itself, over one buffer for past and present, on random
embeddings and a random past. The exports take turns, so the ratios to the first hold on a machine
that is not quite quiet. --profile tells instead where the time goes, by operator and by the shape
of its weights, for each export by itself; the times are those of the profiler, which adds some
microseconds to every node.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from triptych.core.graphs.session import session_options
from triptych.core.ports import Array
from triptych.core.stages import Runtime

PAST = "past_key_values"
STEPS = 10
"""Single steps of one measurement, of which the median counts."""
WIDTH = 0.5
"""The standard deviation of embeddings and of a past of floats."""
CODES = 25
"""The same of a past of codes in 8 bits, as scales with some room give them."""
LISTED = 16
"""Lines of a profile."""


class Decoder:
    """A decoder with room for so many tokens, and inputs to feed it."""

    def __init__(
        self, folder: Path, room: int, threads: int, *, profile: Path | None = None
    ) -> None:
        options = session_options(Runtime(threads=threads))
        if profile is not None:
            options.enable_profiling, options.profile_file_prefix = True, str(profile)
        self.session = onnxruntime.InferenceSession(
            str(folder / "decoder.onnx"), options, providers=["CPUExecutionProvider"]
        )
        self._inputs = {value.name: value for value in self.session.get_inputs()}
        self._binding = self.session.io_binding()
        self._random = np.random.default_rng(0)
        for name, value in self._inputs.items():
            if name.startswith(PAST):
                heads, width = value.shape[1], value.shape[3]
                rows = self._past(value.type, (1, heads, room, width))
                buffer = onnxruntime.OrtValue.ortvalue_from_numpy(rows)
                self._binding.bind_ortvalue_input(name, buffer)
                self._binding.bind_ortvalue_output(name.replace(PAST, "present"), buffer)
        hidden = self._inputs["inputs_embeds"].shape[2]
        drawn = self._random.standard_normal((1, room, hidden), dtype=np.float32)
        self._embeds: Array = drawn * np.float32(WIDTH)

    def seconds(self, past: int, tokens: int) -> float:
        """Forward so many tokens after so many others."""
        for name, value in self._feeds(past, tokens).items():
            self._binding.bind_cpu_input(name, value)
        self._binding.bind_output("logits", "cpu")
        start = time.perf_counter()
        self.session.run_with_iobinding(self._binding)
        return time.perf_counter() - start

    def step(self, past: int) -> float:
        """Seconds of a single step, the median of a few that follow one another."""
        return statistics.median(self.seconds(past + done, 1) for done in range(STEPS))

    def _past(self, kind: str, shape: tuple[int, ...]) -> Array:
        if kind == "tensor(uint8)":
            # Two codes of 4 bits a byte.
            rows = self._random.integers(0, 256, shape[2:], np.uint8)
        else:
            dtype = {"tensor(int8)": np.int8, "tensor(float16)": np.float16}.get(kind, np.float32)
            width = CODES if dtype is np.int8 else WIDTH
            rows = self._random.standard_normal(shape[2:], dtype=np.float32) * np.float32(width)
            rows = rows.astype(dtype)
        return np.broadcast_to(rows, shape).copy()

    def _feeds(self, past: int, tokens: int) -> dict[str, Array]:
        places = np.arange(past, past + tokens)
        axes = self._inputs["position_ids"].shape
        feeds = {
            "inputs_embeds": np.ascontiguousarray(self._embeds[:, past : past + tokens]),
            "attention_mask": np.ones((1, past + tokens), np.int64),
            "position_ids": np.tile(places, (*axes[:1], 1, 1)) if len(axes) > 2 else places[None],  # noqa: PLR2004  # three axes: one more than [B, S]
            "logit_index": np.array([[tokens - 1]]),
        }
        if "deepstack_embeds" in self._inputs:
            layers, hidden = (self._inputs["deepstack_embeds"].shape[axis] for axis in (0, 3))
            feeds["deepstack_embeds"] = np.zeros((layers, 1, 1, hidden), np.float32)
        return feeds


def compared(given: argparse.Namespace) -> list[str]:
    """A table: a line for each export, milliseconds and how many times as fast as the first."""
    room = max([*given.prefill, *(past + STEPS for past in given.decode)])
    decoders = [Decoder(folder, room, given.threads) for folder in given.exports]
    tasks = {f"decode at {past}": (past, 1) for past in given.decode}
    tasks |= {f"prefill {tokens}": (0, tokens) for tokens in given.prefill}
    taken: dict[str, list[list[float]]] = {name: [] for name in tasks}
    for round_ in range(given.rounds + 1):
        for name, (past, tokens) in tasks.items():
            row = [
                each.step(past) if tokens == 1 else each.seconds(past, tokens) for each in decoders
            ]
            # The first round warms up.
            if round_:
                taken[name].append(row)
    lines = [f"| export | {' | '.join(tasks)} |", "|---|" + "---|" * len(tasks)]
    for index, folder in enumerate(given.exports):
        cells = []
        for rows in taken.values():
            middle = statistics.median(row[index] for row in rows) * 1e3
            ratios = [row[0] / row[index] for row in rows]
            cells.append(
                f"{middle:.1f} ms, {statistics.median(ratios):.2f}x "
                f"({min(ratios):.2f}-{max(ratios):.2f})"
            )
        lines.append(f"| {folder.name} | {' | '.join(cells)} |")
    return lines


def profiled(folder: Path, past: int, tokens: int, threads: int) -> list[str]:
    """Milliseconds a run by operator, the most expensive first."""
    runs = STEPS if tokens == 1 else 2
    with tempfile.TemporaryDirectory() as aside:
        decoder = Decoder(folder, past + tokens, threads, profile=Path(aside) / "profile")
        for _ in range(2 * runs):
            decoder.seconds(past, tokens)
        events: list[dict[str, Any]] = json.loads(Path(decoder.session.end_profiling()).read_text())
    # The first half warms up.
    begin = [event["ts"] for event in events if event["name"] == "model_run"][runs]
    spent: Counter[str] = Counter()
    nodes: Counter[str] = Counter()
    for event in events:
        if event["name"].endswith("_kernel_time") and event["ts"] >= begin:
            details = event["args"]
            kind = details["op_name"]
            if kind == "If":
                # What it chooses is listed by itself.
                continue
            if kind.startswith("MatMul"):
                shapes = [next(iter(shape.values())) for shape in details["input_type_shape"]]
                kind += f" {shapes[0][-1]} -> {details['output_type_shape'][0].popitem()[1][-1]}"
            spent[kind] += event["dur"]
            nodes[kind] += 1
    whole = spent.total()
    lines = [f"{folder.name}: {tokens} after {past}", "| operator | nodes | ms | share |"]
    lines.append("|---|---|---|---|")
    for kind, micro in spent.most_common(LISTED):
        cells = f"{nodes[kind] // runs} | {micro / runs / 1e3:.2f} | {micro / whole:.1%}"
        lines.append(f"| {kind} | {cells} |")
    lines.append(f"| all | {nodes.total() // runs} | {whole / runs / 1e3:.2f} | |")
    return lines


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("exports", type=Path, nargs="+")
    parser.add_argument("--decode", type=int, nargs="*", default=[32, 2000], help="tokens before")
    parser.add_argument("--prefill", type=int, nargs="*", default=[512], help="tokens of a prompt")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--profile", action="store_true", help="where the time goes, by operator")
    given = parser.parse_args()
    if not given.profile:
        sys.stdout.write("\n".join(compared(given)) + "\n")
        return
    tasks = [(past, 1) for past in given.decode] + [(0, tokens) for tokens in given.prefill]
    for folder in given.exports:
        for past, tokens in tasks:
            sys.stdout.write("\n".join([*profiled(folder, past, tokens, given.threads), "", ""]))


if __name__ == "__main__":
    main()

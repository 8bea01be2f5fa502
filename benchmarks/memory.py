"""What an export holds in memory, above the libraries that it imports, over its weights.

    python benchmarks/memory.py FOLDER [--prompts 64 256 1024] [--new 64] [--picture SIDE]

`own` is the process's alone (RssAnon); `files` are pages of files, which the system takes back when
it needs room (RssFile). `peak` is the most of `own` while a prompt and its reply were computed.
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
from pathlib import Path
from typing import Any, Self

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

STATUS = Path("/proc/self/status")
MIB = 1024


def held() -> tuple[float, float]:
    """MiB: `own` and `files`."""
    lines = STATUS.read_text(encoding="ascii").splitlines()
    fields = dict(line.split(":", 1) for line in lines)
    own, files = (int(fields[name].split()[0]) / MIB for name in ("RssAnon", "RssFile"))
    return own, files


class Peak:
    """The most of `own` since it was entered, looked at every 5 ms."""

    def __enter__(self) -> Self:
        self.own, self._done = 0.0, False
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done = True
        self._thread.join()

    def _watch(self) -> None:
        while not self._done:
            self.own = max(self.own, held()[0])
            time.sleep(0.005)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--prompts", type=int, nargs="*", default=[64, 256, 1024])
    parser.add_argument("--new", type=int, default=64)
    parser.add_argument("--picture", type=int, help="the side of a picture to ask about, too")
    options = parser.parse_args()

    import numpy as np
    import onnxruntime  # noqa: F401 - what the others are measured above
    import PIL.Image
    import tokenizers  # noqa: F401

    before = held()
    from triptych import load

    files = [path for path in options.folder.iterdir() if ".data" in path.suffixes]
    text = sum(path.stat().st_size for path in files if "vision" not in path.name) / 2**20
    every = sum(path.stat().st_size for path in files) / 2**20

    def line(what: str, own: float, weights: float) -> None:
        now, pages = (a - b for a, b in zip(held(), before, strict=True))
        most = max(own - before[0], now)
        print(
            f"{what}: own {now:.0f} MiB, {now / weights:.2f} x {weights:.0f} of weights; peak "
            f"{most:.0f}, {most / weights:.2f} x; files {pages:.0f}",
            flush=True,
        )

    with Peak() as peak:
        pipeline = load(options.folder)
        time.sleep(0.2)  # What loading has left is given back beside what comes next.
    line("loaded", peak.own, text)

    def ask(what: str, prompt: str, weights: float, **settings: Any) -> None:
        with Peak() as peak:
            reply = pipeline.generate(prompt, seed=1, max_new_tokens=options.new, **settings)
        line(f"{what} of {reply.usage.prompt_tokens} tokens", peak.own, weights)

    for length in options.prompts:
        ask("a prompt", "a " * length, text)
    if options.picture:
        side = (options.picture, options.picture, 3)
        noise = np.random.default_rng(0).integers(0, 255, side).astype(np.uint8)
        ask("a picture", "what", every, images=[PIL.Image.fromarray(noise)])


if __name__ == "__main__":
    main()

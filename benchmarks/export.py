"""What exporting checkpoints of the published sizes costs: disk, seconds, memory.

    python benchmarks/export.py --sizes 2b 4b 8b --precision int4 [--layers 4] [--load]

Makes a random checkpoint of each size, reads it, exports it with `triptych export`, and deletes
everything. "CPU s" are seconds of all threads together, "peak" is anonymous memory (RssAnon, in
which mapped files do not count), "reading" the time that the checkpoint's bytes take to be read
and nothing else, and "ratio" the export's time by it. What the system remembers of the files is
dropped before each, so both read from the disk. An 8B checkpoint has 17.5 GB, and its export up to
35 GB more in fp32. Linux only.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.export.memory import watched
from tests.export.published import PUBLISHED, published_checkpoint, scaled_down

MIB = 1024**2
GB = 10**9
EXPORT = "import sys; from triptych.cli.main import main; sys.exit(main())"
# One pass of the decoder over one token.
LOAD = """
import sys
import time
from collections.abc import Iterator
from pathlib import Path
import numpy as np
from tests.export.graphs import Graphs
start = time.perf_counter()
graphs = Graphs(Path(sys.argv[1]))
loaded = time.perf_counter()
token = np.zeros((1, 1), np.int64)
logits = graphs.cache().forward(graphs.embed(token), np.zeros((3, 1, 1), np.int64), [1])
assert np.isfinite(logits).all()
print(f"{loaded - start:.1f} s to load, {time.perf_counter() - loaded:.2f} s for a token")
"""


def forget(folder: Path) -> None:
    """Makes the system drop what it remembers of the files of a folder."""
    for path in folder.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def seconds_to_read(folder: Path) -> float:
    """How long all bytes of a folder take to be read."""
    buffer = bytearray(16 * MIB)
    start = time.perf_counter()
    for path in folder.iterdir():
        with path.open("rb", buffering=0) as file:
            while file.readinto(buffer):
                pass
    return time.perf_counter() - start


def measure(size: str, options: argparse.Namespace, folder: Path) -> Iterator[list[str]]:
    """The rows of the table for a size."""
    shape = PUBLISHED[size]
    if options.layers:
        shape = scaled_down(shape, options.layers)
    checkpoint = published_checkpoint(folder / "checkpoint", shape)
    weights = size_of(checkpoint)
    forget(checkpoint)
    reading = seconds_to_read(checkpoint)
    for precision in options.precision:
        forget(checkpoint)
        out = folder / "out"
        arguments = ["export", str(checkpoint), str(out), "--precision", precision]
        run = watched([sys.executable, "-c", EXPORT, *arguments])
        if run.exit_code:
            raise SystemExit(run.output)
        yield [
            f"{size} {precision}",
            f"{weights / GB:.2f}",
            f"{size_of(out) / GB:.2f}",
            f"{run.seconds:.0f}",
            f"{run.cpu:.0f}",
            f"{run.peak / MIB:.0f}",
            f"{weights / 10**6 / run.seconds:.0f}",
            f"{reading:.0f}",
            f"{run.seconds / reading:.1f}",
            *([loading(out)] if options.load else []),
        ]
        shutil.rmtree(out)


def loading(out: Path) -> str:
    """What loading an export and computing a token takes."""
    run = watched([sys.executable, "-c", LOAD, str(out)])
    return f"  {run.output.strip()}, {run.peak / MIB:.0f} MiB"


def size_of(folder: Path) -> int:
    """The bytes of its files."""
    return sum(path.stat().st_size for path in folder.iterdir())


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", nargs="+", choices=PUBLISHED, default=list(PUBLISHED))
    parser.add_argument("--precision", nargs="+", default=["int4"])
    parser.add_argument("--layers", type=int, help="at the most, for a shorter run")
    parser.add_argument("--load", action="store_true", help="load the graphs, too, and run a token")
    parser.add_argument("--folder", type=Path, help="where the disk has room")
    options = parser.parse_args()
    os.environ["PYTHONPATH"] = os.pathsep.join([sys.path[0], os.environ.get("PYTHONPATH", "")])
    heads = "checkpoint GB", "export GB", "seconds", "CPU s", "peak MiB", "MB/s", "reading s"
    print(f"{'':10}" + "".join(f"{head:>15}" for head in [*heads, "ratio"]), flush=True)
    for size in options.sizes:
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            for name, *cells in measure(size, options, Path(folder)):
                print(f"{name:10}" + "".join(f"{cell:>15}" for cell in cells), flush=True)


if __name__ == "__main__":
    main()

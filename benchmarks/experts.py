"""What one layer of experts costs: ONNX Runtime's operators against a loop over the experts.

    python benchmarks/experts.py [--experts 128] [--chosen 8] [--hidden 2048] [--inner 768]
                                 [--tokens 1 64] [--stored fp32 int4 ...] [--threads 2]

The default sizes are those of Qwen3-VL-30B-A3B, whose 48 layers are all like this one. Weights are
random, rounded to nearest; a row is one way to store and compute them:

- fp32: `MoE`. int4, int8: `QMoE`, products in int8 (accuracy level 4); int4 exact: in float32.
- loop: a `Loop` over the experts that some token was sent to, with `MatMulNBits` (int4, level 4) or
  `MatMul` (fp32) of the tokens sent to each.

"export" and "peak" are what writing the layer took, in seconds and in anonymous memory (mapped
files do not count); "load" and "kept" the same for making a session of it. Then milliseconds for so
many tokens at once, each sent to experts of its own: the fastest of repeated runs. Linux only.
"""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import ml_dtypes
import numpy as np
import onnx_ir as ir
import onnxruntime

from triptych.core.ports import Array
from triptych.export.builder import FLOAT, GraphBuilder
from triptych.export.checkpoint import Weight
from triptych.export.experts import Experts, Stack
from triptych.export.graph_files import GraphFiles
from triptych.export.precision.block_storage import UINT8
from triptych.export.precision.recipe import Recipe
from triptych.export.precision.recipe_precision import RecipePrecision

MIB = 1024**2
RUNS = 9
LOOP = "loop "
RECIPES = {
    "fp32": {"precision": "fp32"},
    "int4": {"precision": "int4", "method": "rtn"},
    "int4 exact": {"precision": "int4", "method": "rtn", "accuracy_level": 1},
    "int8": {"precision": "int8", "method": "rtn"},
}
KINDS = (*RECIPES, LOOP + "fp32", LOOP + "int4")
BLOCK = 32


def random_experts(count: int, chosen: int, hidden: int, inner: int) -> Experts:
    """Experts in bfloat16, made anew whenever one is read."""

    def stack(name: str, rows: int, columns: int) -> Stack:
        def read(number: int) -> Array:
            random = np.random.default_rng(number)
            values = random.standard_normal((rows, columns), np.float32) * columns**-0.5
            return values.astype(ml_dtypes.bfloat16)

        shape = rows, columns
        return Stack(name, [Weight(name, shape, partial(read, each)) for each in range(count)])

    return Experts(
        stack("gate_up_proj", 2 * inner, hidden), stack("down_proj", hidden, inner), chosen
    )


def layer(experts: Experts, kind: str) -> ir.Model:
    """A graph from x f32 [T, hidden] and scores f32 [T, experts] to y f32 [T, hidden]."""
    count, hidden, _ = experts.down.shape
    graph = GraphBuilder("layer")
    x = graph.input("x", FLOAT, ["T", hidden])
    scores = graph.input("scores", FLOAT, ["T", count])
    if kind.startswith(LOOP):
        y = looped(graph, x, scores, experts, kind.removeprefix(LOOP))
    else:
        recipe = Recipe.model_validate({"default": RECIPES[kind]})
        y = RecipePrecision(kind, recipe).part("mlp").experts(graph, x, scores, experts)
    graph.output("y", y, FLOAT, ["T", hidden])
    return graph.model()


def looped(
    graph: GraphBuilder, x: ir.Value, scores: ir.Value, experts: Experts, stored: str
) -> ir.Value:
    """Each expert that is needed gathers its tokens and adds to theirs what it makes of them."""
    best, index = graph.ops("TopK", scores, graph.constant([experts.chosen]), outputs=2)
    parts = graph.op("Softmax", best)
    needed = graph.ops("Unique", index, outputs=1)[0]
    both, down = (matrices(graph, stack, stored) for stack in (experts.gate_up, experts.down))
    inner = experts.down.shape[2]
    start = graph.op("Mul", x, graph.constant(0, np.float32))
    start.dtype, start.shape = FLOAT, ir.Shape(["T", experts.down.shape[1]])

    def body(inside: GraphBuilder, step: ir.Value, total: ir.Value) -> ir.Value:
        number = inside.op("Gather", needed, step)
        sent = inside.op("Equal", index, number)
        places = inside.op("Transpose", inside.op("NonZero", sent), perm=[1, 0])
        token = inside.op("Slice", places, *map(inside.constant, ([0], [1], [1])))
        rows = inside.op("GatherND", x, token)
        wide = product(inside, rows, both, number, experts.gate_up)
        # Rows of gate and up are in turn.
        wide = inside.op("Reshape", wide, inside.constant([-1, inner, 2]))
        gate, up = (inside.op("Gather", wide, inside.constant(half), axis=2) for half in (0, 1))
        active = inside.op("Mul", inside.op("Mul", gate, inside.op("Sigmoid", gate)), up)
        part = inside.op("Unsqueeze", inside.op("GatherND", parts, places), inside.constant([1]))
        made = inside.op("Mul", product(inside, active, down, number, experts.down), part)
        return inside.op("ScatterND", total, token, made, reduction="add")

    trips = graph.op("Squeeze", graph.op("Shape", needed))
    return graph.loop(trips, start, body)


def matrices(graph: GraphBuilder, stack: Stack, stored: str) -> list[ir.Value]:
    """All of a stack: one fp32 tensor [experts, columns, rows], or codes and scales."""
    count, rows, columns = stack.shape
    if stored == "fp32":
        read = (matrix.read for matrix in stack.matrices)
        values = partial(lambda reads: (np.float32(one().T) for one in reads), tuple(read))
        return [graph.weight(stack.name, (count, columns, rows), FLOAT, values)]
    random, blocks = np.random.default_rng(0), columns // BLOCK
    codes = random.integers(0, 256, (count, rows, blocks, BLOCK // 2), np.uint8)
    scales = np.full((count, rows, blocks), 0.2 * columns**-0.5, np.float32)
    return [
        graph.weight(f"{stack.name}.codes", codes.shape, UINT8, lambda: [codes]),
        graph.weight(f"{stack.name}.scales", scales.shape, FLOAT, lambda: [scales]),
    ]


def product(
    graph: GraphBuilder, x: ir.Value, weights: list[ir.Value], number: ir.Value, stack: Stack
) -> ir.Value:
    """The rows x times the matrix of one expert."""
    own = [graph.op("Gather", weight, number, axis=0) for weight in weights]
    if len(own) == 1:
        return graph.op("MatMul", x, own[0])
    _, rows, columns = stack.shape
    return graph.microsoft(
        "MatMulNBits", x, *own, K=columns, N=rows, bits=4, block_size=BLOCK, accuracy_level=4
    )


def anonymous() -> int:
    """Bytes of memory of this process that no file backs."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    line = next(line for line in status.splitlines() if line.startswith("RssAnon"))
    return int(line.split()[1]) * 1024


@contextmanager
def watched() -> Iterator[list[float]]:
    """Fills in seconds, the peak and the last of the anonymous memory over what there was."""
    before, peak, done = anonymous(), [0], threading.Event()
    found: list[float] = []

    def watch() -> None:
        while not done.wait(0.005):
            peak[0] = max(peak[0], anonymous() - before)

    watcher = threading.Thread(target=watch)
    watcher.start()
    start = time.perf_counter()
    yield found
    seconds = time.perf_counter() - start
    done.set()
    watcher.join()
    found += [seconds, peak[0] / MIB, (anonymous() - before) / MIB]


def measure(kind: str, experts: Experts, tokens: list[int], threads: int) -> str:
    """One row of the table."""
    count, hidden, _ = experts.down.shape
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        with watched() as written:
            GraphFiles({"layer.onnx": layer(experts, kind)}).write(folder)
        size = sum(path.stat().st_size for path in folder.iterdir()) / MIB
        with watched() as loaded:
            session = onnxruntime.InferenceSession(
                folder / "layer.onnx", options, providers=["CPUExecutionProvider"]
            )
        random, fastest = np.random.default_rng(0), []
        for several in tokens:
            feeds = {
                "x": random.standard_normal((several, hidden), np.float32),
                "scores": random.standard_normal((several, count), np.float32),
            }
            session.run(None, feeds)
            fastest.append(min(timed(session, feeds) for _ in range(RUNS)))
    cells = [size, written[0], written[1], loaded[0], loaded[2], *fastest]
    return f"{kind:11}" + "".join(f"{cell:10.1f}" for cell in cells)


def timed(session: onnxruntime.InferenceSession, feeds: dict[str, Array]) -> float:
    """Milliseconds of one run."""
    start = time.perf_counter()
    session.run(None, feeds)
    return 1000 * (time.perf_counter() - start)


def main() -> None:
    """Measures each kind in turn."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, size in {"experts": 128, "chosen": 8, "hidden": 2048, "inner": 768}.items():
        parser.add_argument(f"--{name}", type=int, default=size)
    parser.add_argument("--tokens", type=int, nargs="+", default=[1, 64])
    parser.add_argument("--stored", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--threads", type=int, default=0, help="0: as ONNX Runtime likes")
    chosen = parser.parse_args()
    experts = random_experts(chosen.experts, chosen.chosen, chosen.hidden, chosen.inner)
    heads = ["MiB", "export s", "peak MiB", "load s", "kept MiB"]
    heads += [f"{count} tok ms" for count in chosen.tokens]
    print(f"{'':11}" + "".join(f"{head:>10}" for head in heads))
    for kind in chosen.stored:
        print(measure(kind, experts, chosen.tokens, chosen.threads), flush=True)


if __name__ == "__main__":
    main()

"""What each part of sketch brings to its answers.

    python examples/studies/parts/study.py
    python examples/studies/parts/study.py deepstack

deepstack, positions, visual_tokens and precision are sweeps of `triptych ablate`; without a name
all are run. What `precision` compares is exported first, from the checkpoint in the repository
(pip install 'triptych[export,workbench]'). Results are kept in build/, so that a study that was
stopped goes on; the report of each ends up beside its sweep, as NAME.md.
"""

import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
BUILD = HERE / "build"
CHECKPOINT = HERE.parents[2] / "checkpoints" / "sketch"
SWEEPS = ("deepstack", "positions", "visual_tokens", "precision")

PARTS = {
    "vision": ("vision",),
    "vocabulary": ("embeddings", "head"),
    "attention": ("attention",),
    "mlp": ("mlp",),
}
"""What is stored in fewer bits at once, in the words of a recipe. Embeddings are also the head."""
WHOLE = ("fp32", "fp16", "int8", "int4")
PRECISIONS = ("fp16", "int8", "int4")


def main(names):
    """Run the studies of these names."""
    for name in names:
        if name not in SWEEPS:
            sys.exit(f"there is no study {name!r}; there is {', '.join(SWEEPS)}")
    for name in names:
        if name == "precision":
            export_all()
        out = BUILD / "results" / name
        triptych("ablate", HERE / f"{name}.yaml", "--out", out)
        shutil.copy(out / "report.md", HERE / f"{name}.md")


def export_all():
    """Every pipeline that precision.yaml names."""
    for precision in WHOLE:
        export(precision, "--precision", precision, "--kv-cache", "fp32")
    export("keys-values-int8", "--precision", "fp32", "--kv-cache", "int8")
    for part, weights in PARTS.items():
        for precision in PRECISIONS:
            recipe = BUILD / f"{part}-{precision}.yaml"
            lines = [f"{one}: {precision}" for one in weights]
            recipe.parent.mkdir(exist_ok=True)
            recipe.write_text("\n".join(["format: 1", "default: fp32", *lines, ""]))
            export(recipe.stem, "--recipe", recipe, "--kv-cache", "fp32")


def export(name, *flags):
    """One pipeline, if it is not there."""
    if not (BUILD / name / "pipeline.yaml").is_file():
        triptych("export", CHECKPOINT, BUILD / name, *flags)


def triptych(*words):
    """Run a command."""
    command = [sys.executable, "-m", "triptych", *map(str, words)]
    subprocess.run(command, check=True)  # noqa: S603 - the one above


if __name__ == "__main__":
    main(sys.argv[1:] or SWEEPS)

"""`triptych export`: a checkpoint becomes graphs and a pipeline file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from triptych.cli import arguments as args
from triptych.cli.calibration import calibration_requests
from triptych.cli.reporting import reporting
from triptych.cli.sizes import bytes_of
from triptych.cli.terminal import Waiting
from triptych.core.errors import InputError

if TYPE_CHECKING:
    from triptych.export.graph_files import Progress

PRECISIONS = ("fp32", "fp16", "int8", "int4")
CACHES = ("fp32", "fp16", "int8", "int4")
PROMPTS = ("int8",)
LAYOUTS = ("triptych", "genai", "onnx-community")

EXAMPLES = args.examples(
    (
        "Export a checkpoint folder, and try it:",
        "triptych export Qwen3-VL-2B-Instruct models/mine",
    ),
    (
        "A fifth of the size, and faster:",
        "triptych export Qwen3-VL-2B-Instruct models/small --precision int4",
    ),
    (
        "Each part as a file of your own says:",
        "triptych export Qwen3-VL-2B-Instruct models/mixed --recipe mixed.yaml",
    ),
    (
        "Nothing but weights in fewer bits:",
        "triptych export Qwen3-VL-2B-Instruct models/plain --precision int4 --kv-cache fp32",
    ),
    (
        "Twice as fast with long prompts and documents, in more memory:",
        "triptych export Qwen3-VL-2B-Instruct models/reader --precision int4 --prompts int8",
    ),
    (
        "With what researchers look at inside:",
        "triptych export Qwen3-VL-2B-Instruct models/open --expose hidden:all,attention:2",
    ),
    (
        "For transformers.js, in a browser; or, with --layout genai, for ONNX Runtime GenAI:",
        "triptych export Qwen3-0.6B models/web --layout onnx-community --precision int4",
    ),
    (
        "Does it compute the same?",
        "triptych verify models/mine --against Qwen3-VL-2B-Instruct",
    ),
)


def export(  # noqa: PLR0913  # one parameter per flag
    *,
    checkpoint: Annotated[
        Path,
        typer.Argument(metavar="CHECKPOINT", help="A Hugging Face folder with safetensors."),
    ],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The folder to write.")],
    precision: Annotated[
        str | None,
        typer.Option(
            metavar="|".join(PRECISIONS),
            help="How weights are stored (default: fp32, or as a quantized checkpoint has them).",
            autocompletion=lambda: list(PRECISIONS),
        ),
    ] = None,
    recipe: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="A YAML file that says how weights are stored, by part and by name.",
        ),
    ] = None,
    family: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="The exporter to use (default: found from the checkpoint's config.json).",
        ),
    ] = None,
    max_file_size: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE",
            help="Continue the weights beside a graph in another file after so much, as 2GB "
            "(default: one file).",
        ),
    ] = None,
    kv_cache: Annotated[
        str | None,
        typer.Option(
            metavar="|".join(CACHES),
            help="How keys and values are stored while the model runs (default: int8 where "
            "attention's weights are int8 or int4, else fp32).",
            autocompletion=lambda: list(CACHES),
        ),
    ] = None,
    prompts: Annotated[
        str | None,
        typer.Option(
            metavar="|".join(PROMPTS),
            help="Forward prompts by weights of their own, which are stored besides: twice as "
            "fast, for twice the memory (default: as the recipe says).",
            autocompletion=lambda: list(PROMPTS),
        ),
    ] = None,
    calibration: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Pictures, and texts (*.txt), that an int8 or int4 cache is measured on beside "
            "built-in prompts, or a recipe's gptq (default: drawn scenes).",
        ),
    ] = None,
    layout: Annotated[
        str,
        typer.Option(
            metavar="|".join(LAYOUTS),
            help="Whose folder is written: another tool then runs it, and so does Triptych.",
            autocompletion=lambda: list(LAYOUTS),
        ),
    ] = "triptych",
    drop_deepstack: Annotated[
        bool,
        typer.Option(
            "--drop-deepstack",
            help="Leave DeepStack out, which other tools have no place for: answers about images "
            "will differ from the model's.",
        ),
    ] = False,
    expose: Annotated[
        str | None,
        typer.Option(
            metavar="KIND:LAYERS,...",
            help="Outputs for those who look inside: hidden, attention, early_logits and "
            "vision_attention of layers all, 3, 2-5 or 0+3, as in hidden:all,attention:0+3.",
        ),
    ] = None,
    split_decoder: Annotated[
        int | None,
        typer.Option(
            metavar="LAYER",
            min=1,
            help="Make two graphs of the decoder, the second one from this layer on, so that a "
            "stage between them (fastv) can drop tokens.",
        ),
    ] = None,
    plugin: args.Plugin = None,
    debug: args.Debug = False,
) -> None:
    r"""Write the graphs, the processor's files and the pipeline.yaml of a checkpoint.

    OUT appears when the export is complete. Needs: pip install 'triptych\[export]'.
    """
    with reporting(debug=debug):
        if precision and recipe:
            raise InputError("--precision and --recipe say the same in two ways; give one")
        with Waiting(f"reading {checkpoint}", counted=True) as waiting:
            from triptych.core.components.catalog import Catalog
            from triptych.export import export_checkpoint
            from triptych.export.output import read_record

            def tell(now: Progress) -> None:
                counted = f"weight {min(now.weights + 1, now.all_weights)} of {now.all_weights}"
                waiting.update(f"writing {now.file}, {counted}", now.bytes, now.all_bytes)

            export_checkpoint(
                checkpoint,
                out,
                precision=precision,
                recipe=recipe,
                family=family,
                catalog=Catalog(list(plugin or ())),
                max_file_size=bytes_of(max_file_size) if max_file_size else None,
                kv_cache=kv_cache,
                prompts=prompts,
                calibration=calibration_requests(calibration),
                progress=tell,
                layout=layout,
                drop_deepstack=drop_deepstack,
                expose=expose,
                split=split_decoder,
            )
        record = read_record(out) or {}
        stored, cache = record.get("precision"), record.get("kv_cache")
        cached = "" if cache == "fp32" else f", keys and values in {cache}"
        cached += ", prompts in int8" if (record.get("recipe") or {}).get("prompts") else ""
        typer.echo(f"{out}: exported {checkpoint.name or checkpoint} with {stored} weights{cached}")
        if drop_deepstack:
            typer.echo("  without DeepStack: its answers about images differ from the model's")
        typer.echo(f"  try it:  triptych run {out} --text 'Hello'")
        typer.echo(f"  check:   triptych verify {out} --against {checkpoint}")

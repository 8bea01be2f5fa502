"""A checkpoint folder becomes a pipeline folder."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory

import onnx_ir as ir

from triptych.core.components.catalog import Catalog
from triptych.core.layouts.processor import processor_for
from triptych.core.request import Request
from triptych.export.checkpoint import Checkpoint, read_json
from triptych.export.exporter import Exporter
from triptych.export.exposing import ExposureError, expose_outputs, reads_keys
from triptych.export.families import exporter_for
from triptych.export.gptq import MeasuringPrecision, calibrated, decoder_inputs, hollow
from triptych.export.graph_files import GraphFiles, Tell
from triptych.export.kv_cache import (
    CacheForm,
    cache_form,
    cache_ranges,
    sample_prompts,
    store_cache,
)
from triptych.export.layouts import LayoutError, layout_named
from triptych.export.layouts.written import write_layout
from triptych.export.output import EDITABLE, output_folder, require_room
from triptych.export.pipeline_file import pipeline_yaml
from triptych.export.precision import (
    BlockSource,
    RecipeFile,
    RecipePrecision,
    preset,
    read_recipe,
)
from triptych.export.precision.recipe import BITS, FLOAT_LEVEL
from triptych.export.prompts import PROMPTS_CACHE, PromptsError, join_choices, store_prompts
from triptych.export.split import EARLY, check_layer, looks_at, split_decoder

# What every exporter calls the graph that keeps the cache.
DECODER = "decoder.onnx"

# A checkpoint with one of these can be asked something.
TOKENIZERS = ("tokenizer.json", "vocab.json")

# The files of a checkpoint that the processor and the stop rules read.
PROCESSOR_FILES = (
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "chat_template.jinja",
    "chat_template.json",
    "preprocessor_config.json",
    "processor_config.json",
    "video_preprocessor_config.json",
)


def export_checkpoint(  # noqa: PLR0913  # one keyword per choice
    checkpoint: Path,
    out: Path,
    *,
    precision: str | None = None,
    recipe: Path | RecipeFile | None = None,
    family: str | type[Exporter] | None = None,
    catalog: Catalog | None = None,
    max_file_size: int | None = None,
    kv_cache: str | None = None,
    calibration: Iterable[Request] = (),
    progress: Tell | None = None,
    layout: str = "triptych",
    drop_deepstack: bool = False,
    expose: str | None = None,
    split: int | None = None,
    prompts: str | None = None,
) -> Path:
    """Writes the graphs, the processor's files and pipeline.yaml of a checkpoint; returns `out`.

    checkpoint: a Hugging Face folder with safetensors. precision: how weights are stored, "fp32",
    "fp16", "int8" or "int4" (default: fp32; of a quantized checkpoint, the bits that it has).
    recipe: says so in detail, instead of that. family: the exporter to use, by its name or its
    class, else found from config.json. catalog: where exporters are looked up (default: what is
    built in and installed).
    max_file_size: bytes after which weights beside a graph are continued in another file
    (default: one file a graph). kv_cache: how keys and values are stored while the model runs,
    "fp32", "fp16", "int8" or "int4" (default: see `default_cache`). calibration: prompts that the
    scales of the last two are measured on beside `sample_prompts`, with the export itself, and
    weights are quantized on where the recipe's method is gptq. progress: called as each piece of
    a weight is written.
    layout: whose folder is written, "triptych", "genai" or "onnx-community"; the last two have
    no pipeline.yaml. drop_deepstack: leave DeepStack out where the layout has no place for it.
    expose: outputs that graphs have besides, as "hidden:all,attention:0+3"; see `exposing`.
    split: the decoder becomes two graphs, of which the second begins with this layer.
    prompts: "int8" stores the decoder's weights once more, in rows, for prompts (default: as the
    recipe says).
    Raises CheckpointError, FamilyError, PrecisionError, ConfigError (of a recipe),
    CacheFormError, CalibrationError, PromptsError, ExposureError, SplitError, OutputError,
    LayoutError, or the family's own errors.
    Nothing is left under `out` unless the export is complete.
    """
    checkpoint, out = Path(checkpoint), Path(out)
    catalog = catalog or Catalog()
    source = Checkpoint(checkpoint)
    wanted = _recipe(precision or _own_precision(source), recipe)
    if prompts is not None:
        wanted = wanted.for_prompts(prompts)
    if split is not None:
        expose = f"{expose},{looks_at(split)}" if expose else looks_at(split)
    form = cache_form(kv_cache or default_cache(source, wanted, layout, expose))
    _check_form(form, wanted, expose, layout)
    if recipe is not None:
        # The patterns of a precision need not suit every family; those of a file have to.
        wanted.check(source)
    layout_type = layout_named(layout)
    if layout_type is None and drop_deepstack:
        raise LayoutError(f"the layout {layout!r} has a place for DeepStack, so nothing is dropped")
    config_place = str(checkpoint / "config.json")
    name, exporter_type = exporter_for(source.config, config_place, family=family, catalog=catalog)
    record = {
        "format": 1,
        "family": name,
        "precision": wanted.name,
        "recipe": wanted.recipe.plain(),
        "kv_cache": form.name,
        "layout": layout,
        "drop_deepstack": drop_deepstack,
        **({"expose": expose} if expose else {}),
        **({"split_decoder": split} if split is not None else {}),
    }
    with output_folder(out, record) as folder:
        given: dict[str, BlockSource] = {}
        if wanted.recipe.calibrated:
            calibration = list(calibration)
            with TemporaryDirectory(dir=folder.parent) as aside:
                given = _calibrated(
                    source, exporter_type, wanted, calibration, catalog, Path(aside)
                )
        precise = RecipePrecision(wanted.name, wanted.recipe, given=given)
        exporter = exporter_type(source, precise)
        if layout_type is not None:
            write_layout(
                layout_type(source, wanted.name, drop_deepstack=drop_deepstack),
                dict(exporter.graphs()),
                source,
                folder,
                processor=PROCESSOR_FILES,
                limit=max_file_size,
                progress=progress,
            )
            return out
        files = GraphFiles(_graphs(exporter, expose, split), limit=max_file_size)
        require_room(folder, files.expected_bytes)
        files.write(folder, progress)
        early = None if split is None else EARLY
        _write_rest(source, exporter, wanted.name, folder, early=early)
        if form.name != "fp32":
            seen = chain(calibration, sample_prompts())
            ranges = cache_ranges(folder, seen, catalog=catalog) if form.bits else None
            for name in filter(None, (early, DECODER)):
                store_cache(folder / name, form, ranges)
        if form.name == PROMPTS_CACHE:
            _choose(folder / DECODER, rows=bool(wanted.recipe.prompts), limit=max_file_size)
    return out


def _choose(decoder: Path, *, rows: bool, limit: int | None) -> None:
    """Lets a decoder choose between prompts and single tokens once; rows: of prompts' own."""
    if rows:
        store_prompts(decoder, limit=limit)
    else:
        join_choices(decoder)


def default_cache(
    source: Checkpoint, recipe: RecipeFile, layout: str, expose: str | None = None
) -> str:
    """How keys and values are stored where nobody says it.

    "int8" where the products of attention's weights are rounded to that; but "fp32" for other
    tools' layouts, for a checkpoint without a tokenizer, on which nothing can be measured, and
    where attention is exposed, which is computed from the keys as they are kept.
    """
    scheme = recipe.recipe.scheme("attention", "")
    whole = scheme.precision in BITS and scheme.accuracy_level != FLOAT_LEVEL
    measurable = any(source.optional_file(name) is not None for name in TOKENIZERS)
    served = layout == "triptych" and not reads_keys(expose)
    return "int8" if whole and measurable and served else "fp32"


def _check_form(form: CacheForm, wanted: RecipeFile, expose: str | None, layout: str) -> None:
    """Raises ExposureError, LayoutError and PromptsError for what does not go together."""
    if layout != "triptych" and form.name != "fp32":
        raise LayoutError(f"the layout {layout!r} has a cache of fp32, not {form.name}")
    if wanted.recipe.prompts and form.name != PROMPTS_CACHE:
        raise PromptsError(
            f"prompts: int8 goes with a cache of int8, not {form.name}: leave --kv-cache out, and "
            "--expose attention and --split-decoder, which need one of floats, and other layouts"
        )
    if form.bits and reads_keys(expose):
        raise ExposureError(
            f"--expose {expose}: attention cannot be exposed over keys in whole numbers; say "
            "--kv-cache fp32, or fp16"
        )
    if expose and layout != "triptych":
        raise LayoutError(
            f"the layout {layout!r} has no place for what --expose and --split-decoder add"
        )


def _graphs(exporter: Exporter, expose: str | None, split: int | None) -> dict[str, ir.Model]:
    """The graphs by their files' names, with what is exposed, the decoder as two if wanted."""

    def made() -> dict[str, ir.Model]:
        graphs = dict(exporter.graphs())
        if split is not None:
            # Before what the split needs is exposed, which nobody asked for by name.
            check_layer(graphs[DECODER], split)
        if expose:
            expose_outputs(graphs, expose)
        return graphs

    if split is None:
        return made()
    graphs = made()
    graphs[EARLY], graphs[DECODER] = split_decoder(graphs[DECODER], made()[DECODER], split)
    return graphs


def _write_rest(
    source: Checkpoint,
    exporter: Exporter,
    precision: str,
    folder: Path,
    *,
    early: str | None = None,
) -> None:
    """What a pipeline has beside its graphs. early: the first graph of a decoder of two."""
    for file in PROCESSOR_FILES:
        if (found := source.optional_file(file)) is not None:
            shutil.copyfile(found, folder / file)
    generation = source.optional_file("generation_config.json")
    text = pipeline_yaml(
        source=source.folder.resolve().name,
        precision=precision,
        processor=getattr(exporter, "processor", None) or processor_for(folder),
        stages=exporter.stages,
        halves=None if early is None else (early, DECODER),
        generation=read_json(generation) if generation else None,
    )
    (folder / EDITABLE).write_text(text, encoding="utf-8")


def _calibrated(
    source: Checkpoint,
    exporter_type: type[Exporter],
    wanted: RecipeFile,
    requests: Iterable[Request],
    catalog: Catalog,
    folder: Path,
) -> dict[str, BlockSource]:
    """What GPTQ finds: the stages before the decoder are exported and run to get its inputs."""
    precision = MeasuringPrecision(wanted.name, wanted.recipe)
    exporter = exporter_type(source, precision)
    graphs = dict(exporter.graphs())
    decoder = graphs[DECODER]
    graphs[DECODER] = hollow(decoder, precision.linears)
    GraphFiles(graphs).write(folder)
    _write_rest(source, exporter, wanted.name, folder)
    prompts = decoder_inputs(folder, requests, catalog=catalog)
    return calibrated(decoder, precision.linears, prompts, folder)


def _own_precision(checkpoint: Checkpoint) -> str:
    """What a checkpoint is stored as itself, if as blocks; else all that it has, fp32."""
    packed = (checkpoint.packed(name) for name in checkpoint)
    bits = {blocks.format.bits for blocks in packed if blocks is not None}
    return f"int{min(bits)}" if bits else "fp32"


def _recipe(precision: str, recipe: Path | RecipeFile | None) -> RecipeFile:
    if recipe is None:
        return preset(precision)
    return recipe if isinstance(recipe, RecipeFile) else read_recipe(Path(recipe))

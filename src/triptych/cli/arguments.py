"""The arguments that several verbs share, with their help texts and completions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

DEFAULT_PIPELINE = "sketch"

REQUEST = "What to ask"
SAMPLING = "How the reply is drawn"
PIPELINE = "Pipeline"
OUTPUT = "Output"
WORK = "Where the work is done"

NO_VALUE = ""
"""The metavar of a flag: it takes no value."""

YAML_SUFFIXES = (".yaml", ".yml", ".json")


def complete_pipeline(incomplete: str) -> Iterator[str]:
    """The built-in model, and the files and folders that may be pipelines."""
    if DEFAULT_PIPELINE.startswith(incomplete):
        yield DEFAULT_PIPELINE
    parent = Path(incomplete).parent if not incomplete.endswith("/") else Path(incomplete)
    try:
        found = sorted(parent.iterdir())
    except OSError:
        return
    for path in found:
        name = f"{path}/" if path.is_dir() else str(path)
        shown = path.is_dir() or path.suffix in YAML_SUFFIXES
        if shown and name.startswith(incomplete) and not path.name.startswith("."):
            yield name


PipelineArgument = Annotated[
    str,
    typer.Argument(
        metavar="PIPELINE",
        help="A folder with a pipeline.yaml, a YAML file, or the built-in model 'sketch'.",
        autocompletion=complete_pipeline,
    ),
]

DEFAULT_ENGINE = "local"

Engine = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="'local' (this process), or 'ray' (a cluster).",
        rich_help_panel=WORK,
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        min=1,
        help="With --engine ray: how many load the models (default: one on each machine).",
        rich_help_panel=WORK,
    ),
]

System = Annotated[
    str | None,
    typer.Option(metavar="TEXT", help="The system message.", rich_help_panel=REQUEST),
]

MaxNewTokens = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        min=1,
        help="The longest reply, in tokens (default: the pipeline's own).",
        rich_help_panel=SAMPLING,
    ),
]
Temperature = Annotated[
    float | None,
    typer.Option(
        metavar="F",
        help="Above 1 more varied, below 1 more likely tokens; 0 is --no-sample.",
        rich_help_panel=SAMPLING,
    ),
]
TopK = Annotated[
    int | None,
    typer.Option(metavar="N", help="Draw from the N likeliest.", rich_help_panel=SAMPLING),
]
TopP = Annotated[
    float | None,
    typer.Option(
        metavar="F",
        help="Draw from the likeliest that together hold this probability.",
        rich_help_panel=SAMPLING,
    ),
]
NoSample = Annotated[
    bool,
    typer.Option(
        "--no-sample",
        metavar=NO_VALUE,
        help="Always take the likeliest token.",
        rich_help_panel=SAMPLING,
    ),
]
Seed = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        min=0,
        help="The same seed gives the same reply (default: a new one).",
        rich_help_panel=SAMPLING,
    ),
]
Stop = Annotated[
    list[str] | None,
    typer.Option(
        metavar="TEXT",
        help="End the reply where this text would come, without it; may be repeated.",
        rich_help_panel=SAMPLING,
    ),
]

Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="K=V",
        help="Change a setting, as in sampler.top_p=0.8; the value is YAML; may be repeated.",
        rich_help_panel=PIPELINE,
    ),
]
Insert = Annotated[
    list[str] | None,
    typer.Option(
        metavar="ITEM",
        help="Insert a stage, as in 'after mrope: {acme/token_merge: 0.5}'; may be repeated.",
        rich_help_panel=PIPELINE,
    ),
]
Replace = Annotated[
    list[str] | None,
    typer.Option(
        metavar="L=ITEM",
        help="Put an item in the place of the one labelled L, as in mrope=positions; "
        "may be repeated.",
        rich_help_panel=PIPELINE,
    ),
]
Remove = Annotated[
    list[str] | None,
    typer.Option(
        metavar="L",
        help="Leave out the stage labelled L, or sampler.L; may be repeated.",
        rich_help_panel=PIPELINE,
    ),
]
Plugin = Annotated[
    list[Path] | None,
    typer.Option(
        metavar="FILE",
        help="A Python file whose components are offered as local/NAME; may be repeated.",
        rich_help_panel=PIPELINE,
    ),
]
AllowOutside = Annotated[
    bool,
    typer.Option(
        "--allow-outside",
        metavar=NO_VALUE,
        help="Let the pipeline read files outside of its folder.",
        rich_help_panel=PIPELINE,
    ),
]

Json = Annotated[
    bool,
    typer.Option("--json", metavar=NO_VALUE, help="Print one JSON object.", rich_help_panel=OUTPUT),
]
Logprobs = Annotated[
    int | None,
    typer.Option(
        "--logprobs",
        metavar="N",
        min=0,
        help="In JSON, how likely each token was, and the N likeliest ones there.",
        rich_help_panel=OUTPUT,
    ),
]
Verbose = Annotated[
    bool,
    typer.Option(
        "--verbose",
        "-v",
        metavar=NO_VALUE,
        help="Say on stderr how the reply ended, and how long it took.",
        rich_help_panel=OUTPUT,
    ),
]
Debug = Annotated[
    bool,
    typer.Option(
        "--debug",
        metavar=NO_VALUE,
        help="Show the traceback of an error.",
        rich_help_panel=OUTPUT,
    ),
]


def examples(*pairs: tuple[str, str]) -> str:
    """The epilog of a verb's help: what one may want, and the command for it."""
    lines = [f"{_plain(what)}\n  [bold cyan]{_plain(command)}[/]" for what, command in pairs]
    return "\n\n".join(lines)


def _plain(text: str) -> str:
    """Text in which rich sees no markup."""
    return text.replace("[", "\\[")

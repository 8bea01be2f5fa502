"""`triptych run`: one request, one reply."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from triptych.cli import arguments as args
from triptych.cli.inside import Inside, Record, ReplayFrom, ReplayPorts, Taps
from triptych.cli.interrupt import Interruptible
from triptych.cli.opening import Changes, Sampling
from triptych.cli.reporting import FAULT, INTERRUPTED, reporting
from triptych.cli.run_request import Flags, From, reproduced, say_compared
from triptych.cli.terminal import Waiting, harmless, remark
from triptych.core.counted import counted
from triptych.core.errors import InputError

if TYPE_CHECKING:
    from triptych.core.reply import Reply
    from triptych.core.requests.stream import Stream

EXAMPLES = args.examples(
    (
        "Ask the built-in model about a picture:",
        'triptych run --image scene.png --text "What color is the circle?"',
    ),
    (
        "An exported model, drawn at a low temperature:",
        'triptych run models/mine --image a.jpg --text "Describe it." --temperature 0.3',
    ),
    (
        "Two pictures, the likeliest answer, as JSON:",
        'triptych run --image a.png --image b.png --text "Compare." --no-sample --json',
    ),
    ("A question from a pipe:", "cat question.txt | triptych run --text -"),
    (
        "Another graph in the place of one:",
        "triptych run my.yaml --text Hello --set decoder.graph=decoder.int4.onnx",
    ),
    (
        "Everything that passed between the stages, to be compared by `triptych diff`:",
        "triptych run --text Hello --record here",
    ),
    ("The same once more:", "triptych run --from here"),
)


def run(  # noqa: PLR0913  # one parameter per flag
    *,
    text: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT",
            help="The question; '-' reads it from stdin.",
            rich_help_panel=args.REQUEST,
        ),
    ] = None,
    pipeline: args.PipelineArgument = args.DEFAULT_PIPELINE,
    image: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATH",
            help="A picture to ask about; may be repeated.",
            rich_help_panel=args.REQUEST,
        ),
    ] = None,
    video: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATH",
            help="A video: a folder of pictures, an animation or a video file; may be repeated.",
            rich_help_panel=args.REQUEST,
        ),
    ] = None,
    system: args.System = None,
    max_new_tokens: args.MaxNewTokens = None,
    temperature: args.Temperature = None,
    top_k: args.TopK = None,
    top_p: args.TopP = None,
    no_sample: args.NoSample = False,
    seed: args.Seed = None,
    stop: args.Stop = None,
    set_: args.Set = None,
    insert: args.Insert = None,
    replace: args.Replace = None,
    remove: args.Remove = None,
    plugin: args.Plugin = None,
    allow_outside: args.AllowOutside = False,
    no_stream: Annotated[
        bool,
        typer.Option(
            "--no-stream",
            metavar=args.NO_VALUE,
            help="Print the reply when it is complete.",
            rich_help_panel=args.OUTPUT,
        ),
    ] = False,
    json: args.Json = False,
    logprobs: args.Logprobs = None,
    tap: Taps = None,
    record: Record = None,
    replay: ReplayFrom = None,
    replay_ports: ReplayPorts = None,
    from_: From = None,
    verbose: args.Verbose = False,
    debug: args.Debug = False,
) -> None:
    """Ask one question, about pictures, videos or neither, and print the answer as it comes.

    Ctrl-C ends the reply after the token it is at: what there is stays (with
    --json as an object, too, whose finish_reason is "cancelled"), and the exit
    code is 130. A second Ctrl-C ends at once.

    A question comes from --text, or with --from a manifest, which has it whole; where
    the answer is then another one, the exit code is 1.

    Other exit codes: 0, 2 for what you can mend, 1 for the rest.
    """
    with reporting(debug=debug), Interruptible() as interrupt:
        if logprobs is not None and not json:
            raise InputError(f"--logprobs {logprobs}: they are part of --json; give that, too")
        flags = Flags(
            pipeline,
            text,
            image or [],
            video or [],
            system,
            max_new_tokens,
            Sampling(temperature, top_k, top_p, no_sample),
            seed,
            stop or [],
        )
        asked = flags.request() if from_ is None else flags.again(from_)
        looks = Inside(tap, record, replay, replay_ports).looks(quiet=json)
        changes = Changes(set_, insert, replace, remove, plugin, allow_outside)
        loaded = asked.load(changes, looks)
        settings = asked.settings if logprobs is None else {"logprobs": logprobs}
        stream = loaded.stream(
            asked.request, observer=looks.observer, **{**asked.settings, **settings}
        )
        interrupt.cancel = stream.cancel
        # Between the pieces of a reply, what --tap says could not be read.
        whole = no_stream or bool(tap)
        with stream:
            show_pieces(stream, quiet=whole or json)
        reply = stream.reply
        difference = asked.compared(reply)
        if json:
            print_json(reply, looks.to_dict() | reproduced(asked, difference))
        elif whole:
            say(reply.text)
        if not json:
            say("\n")
        if verbose:
            remark(summary(reply))
        if from_ is not None:
            say_compared(reply, difference)
        if interrupt.pressed:
            raise typer.Exit(INTERRUPTED)
        if difference is not None:
            raise typer.Exit(FAULT)


def show_pieces(stream: Stream, *, quiet: bool) -> None:
    """Print the pieces of a reply as they come; quiet: only wait for them."""
    with Waiting("reading the prompt" if not quiet else "generating") as waiting:
        said = False
        try:
            for piece in stream:
                if not quiet:
                    waiting.stop()
                    say(piece.text)
                    said = True
        except Exception:
            if said:
                # What is told of it does not stand on the line of the reply.
                say("\n")
            raise


def say(text: str) -> None:
    """Print model output now."""
    sys.stdout.write(harmless(text) if sys.stdout.isatty() else text)
    sys.stdout.flush()


def print_json(reply: Reply, more: Mapping[str, Any]) -> None:
    """Print a reply as one JSON object. more: what it says besides."""
    import json

    say(json.dumps(reply.to_dict() | dict(more), ensure_ascii=False) + "\n")


def summary(reply: Reply) -> str:
    """How a reply ended, its tokens, and how long it took, in one line."""
    usage, timings = reply.usage, reply.timings
    images = f", {usage.image_tokens} of them visual" if usage.image_tokens else ""
    if usage.image_tokens_kept < usage.image_tokens:
        images += f" ({usage.image_tokens_kept} kept)"
    cached = f", {usage.cached_tokens} cached" if usage.cached_tokens else ""
    parts = [
        f"{reply.finish_reason}: {counted(usage.prompt_tokens, 'token')} in{images}{cached}",
        f"{usage.completion_tokens} out",
        f"load {timings.load:.2f} s",
        *([f"vision {timings.vision:.2f} s"] if usage.image_tokens else []),
        f"prefill {timings.prefill:.2f} s",
        f"decode {timings.decode:.2f} s",
        f"seed {reply.seed}",
    ]
    return ", ".join(parts)

"""`triptych chat`: a conversation at the terminal, or through a pipe."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import typer

from triptych.cli import arguments as args
from triptych.cli.interrupt import Interruptible
from triptych.cli.opening import Changes, Sampling
from triptych.cli.reporting import reporting
from triptych.cli.terminal import decoding, remark

PROMPT = "> "

EXAMPLES = args.examples(
    ("Talk with the built-in model; /help lists the commands:", "triptych chat"),
    ("Always the same replies:", "triptych chat models/mine --no-sample"),
    ("A conversation from a file, a line a turn:", "triptych chat < questions.txt"),
)


def chat(  # noqa: PLR0913  # one parameter per flag
    *,
    pipeline: args.PipelineArgument = args.DEFAULT_PIPELINE,
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
    verbose: args.Verbose = False,
    debug: args.Debug = False,
) -> None:
    """Talk with a model. It remembers the conversation, and what was shown in it.

    A line is a message; one that begins with / is a command, as in
    /image photo.jpg (/help lists them). Ctrl-C ends a reply and keeps what
    there is; Ctrl-D leaves.

    With input from a pipe the exit code is 0, or that of the first turn that
    failed.
    """
    with reporting(debug=debug):
        from triptych.cli.commands import Commands
        from triptych.cli.session import Session

        changes = Changes(set_, insert, replace, remove, plugin, allow_outside)
        sampling = Sampling(temperature, top_k, top_p, no_sample)
        with Interruptible():
            # The flags are checked here, and kept as settings that /set may change.
            changes.spec(pipeline, sampling)
            loaded = changes.load(pipeline)
        given = {
            "max_new_tokens": max_new_tokens,
            "temperature": temperature,
            "top_k": top_k,
            "top_p": top_p,
            "no_sample": no_sample or None,
            "seed": seed,
            "stop": stop or None,
        }
        settings = {name: value for name, value in given.items() if value is not None}
        session = Session(loaded, system=system, settings=settings, verbose=verbose)
        commands = Commands(session, debug=debug)
        for line in _lines():
            if not commands.take(line):
                break
        raise typer.Exit(0 if sys.stdin.isatty() else commands.first_failure)


def _lines() -> Iterator[str]:
    """What is typed, or what comes through the pipe, a line at a time."""
    if not sys.stdin.isatty():
        with decoding():
            yield from (line.rstrip("\r\n") for line in sys.stdin)
        return
    _edit_lines()
    remark("/help lists the commands, Ctrl-D leaves")
    while True:
        try:
            yield _typed()
        except KeyboardInterrupt:
            typer.echo(err=True)
            remark("Ctrl-D or /exit leaves; the conversation goes on")
        except EOFError:
            typer.echo(err=True)
            return


def _typed() -> str:
    if sys.stdout.isatty():
        return input(PROMPT)
    sys.stderr.write(PROMPT)
    sys.stderr.flush()
    return input()


def _edit_lines() -> None:
    """Arrow keys and history for `input`, where Python was built with them."""
    try:
        import readline
    except ImportError:
        return
    from triptych.cli.commands import complete

    readline.set_completer_delims(" ")
    readline.set_completer(complete)
    readline.parse_and_bind("tab: complete")

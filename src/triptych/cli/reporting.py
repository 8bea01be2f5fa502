"""How errors leave the command line: one message on stderr, and an exit code."""

from __future__ import annotations

import errno
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from triptych.core.errors import TriptychError

FAULT = 1
"""The exit code for what the user cannot mend."""
MENDABLE = 2
"""The exit code for what the user can mend."""
INTERRUPTED = 130
"""The exit code after Ctrl-C: 128 and the number of SIGINT, as shells have it."""
PIPE_CLOSED = 141
"""The exit code when nobody reads the output any more: 128 and the number of SIGPIPE."""

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
"""What writing to a full disk or a broken device raises; a file that has a name is named."""


@contextmanager
def reporting(*, debug: bool) -> Iterator[None]:
    """Turn what goes wrong inside into a message on stderr and an exit code.

    debug: show the traceback, too. Raises typer.Exit.
    """
    try:
        yield
    except (typer.Exit, typer.Abort, typer.TyperException):
        raise
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
    except BrokenPipeError:
        close_output()
        raise typer.Exit(PIPE_CLOSED) from None
    except Exception as error:
        if debug:
            traceback.print_exc()
        if isinstance(error, OSError) and error.errno in _NO_ROOM and error.filename is None:
            close_output()
            complain(f"the output cannot be written: {error.strerror}")
            raise typer.Exit(FAULT) from error
        message, code = _message(error, debug=debug)
        complain(message)
        raise typer.Exit(code) from error


def complain(message: str) -> None:
    """Print ``error: message`` on stderr."""
    label = typer.style("error:", fg=typer.colors.RED, bold=True)
    typer.echo(f"{label} {message}", err=True)


def warn(message: str) -> None:
    """Print ``warning: message`` on stderr."""
    label = typer.style("warning:", fg=typer.colors.YELLOW, bold=True)
    typer.echo(f"{label} {message}", err=True)


def close_output() -> None:
    """Send what is still to be flushed to nowhere, so that it cannot fail once more."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def _message(error: Exception, *, debug: bool) -> tuple[str, int]:
    if isinstance(error, TriptychError):
        return str(error), error.exit_code
    remedy = "" if debug else "\n  run it again with --debug to see where, and report it"
    return f"{type(error).__name__}: {error}{remedy}", FAULT

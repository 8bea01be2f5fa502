"""The lines of `triptych chat`: messages, and commands that begin with a slash."""

from __future__ import annotations

import json
import shlex
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import typer

from triptych.cli.reporting import FAULT, complain
from triptych.cli.session import SETTINGS, Session
from triptych.cli.terminal import remark
from triptych.core.config.edits import parse_set
from triptych.core.errors import InputError, words_of
from triptych.core.messages import nearest

SLASH = "/"


@dataclass(frozen=True)
class Command:
    """usage: as `/help` lists it. run: called with what stands after the name."""

    usage: str
    about: str
    run: Callable[[Commands, str], None]


class Commands:
    """Takes line by line what is typed; an error in one leaves the conversation as it was.

    first_failure: the exit code of the first error, else 0.
    """

    def __init__(self, session: Session, *, debug: bool = False) -> None:
        self.session = session
        self.first_failure = 0
        self._debug = debug
        self._over = False

    def take(self, line: str) -> bool:
        """Do what a line says; False when it ends the conversation."""
        line = line.strip()
        try:
            if line.startswith(SLASH) and not line.startswith(SLASH * 2):
                self._command(line)
            elif line:
                self.session.ask(line.replace(SLASH * 2, SLASH, 1) if line[0] == SLASH else line)
        except BrokenPipeError:
            raise
        except Exception as error:  # noqa: BLE001 - a fault in one turn must not lose the others
            self._fail(error)
        return not self._over

    def _command(self, line: str) -> None:
        name, _, rest = line[1:].partition(" ")
        command = COMMANDS.get(name)
        if command is None:
            near = nearest(name, COMMANDS)
            hint = f"; did you mean /{near}?" if near else ""
            known = ", ".join(f"/{other}" for other in COMMANDS)
            raise InputError(
                f"there is no command /{name}{hint} (commands: {known}; a message that begins "
                "with a slash is written with two)"
            )
        command.run(self, rest.strip())

    def _fail(self, error: Exception) -> None:
        if self._debug:
            traceback.print_exception(error)
        complain(words_of(error))
        self.first_failure = self.first_failure or getattr(error, "exit_code", FAULT)

    def image(self, rest: str) -> None:
        """Attach one picture or several."""
        if not rest:
            raise InputError("/image needs the path of a picture, as in /image photo.jpg")
        for path in _paths(rest):
            self.session.attach(path)
            remark(f"{path} goes with the next message")

    def video(self, rest: str) -> None:
        """Attach one video or several."""
        if not rest:
            raise InputError("/video needs the path of a video, as in /video clip.gif")
        for path in _paths(rest):
            self.session.attach_video(path)
            remark(f"{path} goes with the next message")

    def set(self, rest: str) -> None:
        """Change a setting, or show all."""
        if rest and "=" not in rest:
            raise InputError(f"/set {rest}: is not of the form K=V, as in /set temperature=0.3")
        if rest:
            change = parse_set(rest)
            self.session.change(change.address, change.value)
            return
        for name in SETTINGS:
            value = self.session.settings.get(name)
            shown = "the pipeline's own" if value is None else json.dumps(value)
            typer.echo(f"{name} = {shown}")

    def save(self, rest: str) -> None:
        """Write the conversation to a file."""
        path = _file(rest, "save")
        self.session.save(path)
        remark(f"saved {_count(self.session)} in {path}")

    def load(self, rest: str) -> None:
        """Go on from a file."""
        path = _file(rest, "load")
        said = self.session.load(path)
        remark(f"loaded {_count(self.session)} from {path}" + (f"; {said}" if said else ""))

    def clear(self, _: str) -> None:
        """Forget."""
        self.session.clear()
        remark("the conversation begins anew")

    def help(self, _: str) -> None:
        """List the commands."""
        width = max(len(command.usage) for command in COMMANDS.values())
        for command in COMMANDS.values():
            typer.echo(f"{command.usage:<{width}}  {command.about}")

    def exit(self, _: str) -> None:
        """Leave."""
        self._over = True


COMMANDS = {
    "image": Command(
        "/image PATH", "show a picture with the next message; may be repeated", Commands.image
    ),
    "video": Command(
        "/video PATH", "show a video with the next message; may be repeated", Commands.video
    ),
    "set": Command(
        "/set K=V", "as in /set temperature=0.3; =null unsets; alone, shows all", Commands.set
    ),
    "save": Command("/save FILE", "write the conversation as JSON", Commands.save),
    "load": Command("/load FILE", "go on from a saved conversation", Commands.load),
    "clear": Command("/clear", "forget the conversation", Commands.clear),
    "help": Command("/help", "list the commands", Commands.help),
    "exit": Command("/exit", "leave; so does Ctrl-D", Commands.exit),
}


def complete(text: str, state: int) -> str | None:
    """Readline's completer: commands at the start of a line, settings, and files."""
    if text.startswith(SLASH) and text.count(SLASH) == 1:
        found = [f"/{name} " for name in COMMANDS if f"/{name}".startswith(text)]
    else:
        path = Path(text)
        folder, start = (path, "") if text.endswith(SLASH) or not text else (path.parent, path.name)
        try:
            names = sorted(folder.glob(f"{start}*"))
        except (OSError, ValueError):
            names = []
        found = [f"{name}/" if name.is_dir() else str(name) for name in names]
        found += [f"{name}=" for name in SETTINGS if text and name.startswith(text)]
    return found[state] if state < len(found) else None


def _paths(rest: str) -> list[str]:
    """The paths of a command: quoted where they have spaces, or one as it is."""
    if rest and Path(rest).expanduser().exists():
        return [rest]
    try:
        return shlex.split(rest)
    except ValueError:
        # A single apostrophe is part of a name.
        return [rest]


def _file(rest: str, command: str) -> Path:
    paths = _paths(rest)
    if len(paths) != 1:
        raise InputError(f"/{command} needs one file, as in /{command} talk.json")
    return Path(paths[0]).expanduser()


def _count(session: Session) -> str:
    number = len(session.chat.messages)
    return "1 message" if number == 1 else f"{number} messages"

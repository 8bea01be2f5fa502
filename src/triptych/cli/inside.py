"""The flags of `triptych run` that look inside: what they ask for, and what they found."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from triptych.cli.terminal import remark
from triptych.core.dataclass import dataclass
from triptych.core.errors import InputError

if TYPE_CHECKING:
    from triptych.core.observer import Observer
    from triptych.recording.recorder import Recorder
    from triptych.recording.replay import Replay
    from triptych.recording.tap import Seen, Tap

PANEL = "Looking inside"

Taps = Annotated[
    list[str] | None,
    typer.Option(
        "--tap",
        metavar="PORT[,PORT]",
        help="Say on stderr what these ports are at each step, or with --json as `taps`.",
        rich_help_panel=PANEL,
    ),
]
Record = Annotated[
    Path | None,
    typer.Option(
        "--record",
        metavar="DIR",
        help="Write every port that is written, or those of --tap, and a manifest of the answer.",
        rich_help_panel=PANEL,
    ),
]
ReplayFrom = Annotated[
    Path | None,
    typer.Option(
        "--replay",
        metavar="DIR",
        help="Do not run the stages all of whose ports are recorded there, nor those that only "
        "such stages read.",
        rich_help_panel=PANEL,
    ),
]
ReplayPorts = Annotated[
    list[str] | None,
    typer.Option(
        "--replay-ports",
        metavar="PORT[,PORT]",
        help="With --replay: play back only these.",
        rich_help_panel=PANEL,
    ),
]


@dataclass(frozen=True)
class Inside:
    """What was asked for; None where it was not."""

    tap: Sequence[str] | None = None
    record: Path | None = None
    replay: Path | None = None
    replay_ports: Sequence[str] | None = None

    @property
    def ports(self) -> list[str]:
        """Those of --tap, each once. Raises InputError."""
        return _names("--tap", self.tap)

    def looks(self, *, quiet: bool) -> Looks:
        """What looks, with the folders that it was given read. quiet: it says nothing meanwhile.

        Raises InputError and RecordingError.
        """
        if self.replay is None and self.replay_ports:
            raise InputError("--replay-ports says what of --replay DIR is played back; give both")
        looks = Looks()
        if self.replay is not None:
            from triptych.recording.replay import Replay

            wanted = _names("--replay-ports", self.replay_ports)
            looks.replay = Replay(self.replay, ports=wanted or None)
        if self.ports:
            from triptych.recording.tap import Tap

            looks.tap = Tap(self.ports, None if quiet else _tell)
        if self.record is not None:
            from triptych.recording.folder import check_free
            from triptych.recording.recorder import Recorder

            check_free(self.record)
            looks.recorder = Recorder(self.record, ports=self.ports or None)
        return looks


@dataclass
class Looks:
    """What looks at one answer."""

    replay: Replay | None = None
    tap: Tap | None = None
    recorder: Recorder | None = None

    @property
    def ports(self) -> list[str]:
        """Those that are tapped."""
        return [] if self.tap is None else list(self.tap.ports)

    @property
    def stood_in(self) -> Sequence[str]:
        """Who stands in for stages, as a manifest says it."""
        return [] if self.replay is None else self.replay.stood_in

    @property
    def observer(self) -> Observer | None:
        """All of it as one; None where nobody looks."""
        every = [one for one in (self.replay, self.tap, self.recorder) if one is not None]
        if len(every) < 2:  # noqa: PLR2004 - one needs no company
            return every[0] if every else None
        from triptych.recording.together import Together

        return Together(every)

    def to_dict(self) -> dict[str, Any]:
        """What `--json` says of it."""
        said: dict[str, Any] = {}
        if self.tap is not None:
            said["taps"] = [seen.to_dict() for seen in self.tap.seen]
        if self.replay is not None:
            said["skipped"] = self.replay.skipped
        return said


def _tell(seen: Seen) -> None:
    """Say what a port was."""
    remark(str(seen))


def _names(flag: str, texts: Sequence[str] | None) -> list[str]:
    """The ports that a flag names, each once. Raises InputError for text that names none."""
    found: dict[str, None] = {}
    for text in texts or ():
        names = [name.strip() for name in text.split(",") if name.strip()]
        if not names:
            raise InputError(f"{flag} {text!r} names no port; write as in {flag} logits")
        found |= dict.fromkeys(names)
    return list(found)

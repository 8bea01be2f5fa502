"""What `triptych run` asks: as its flags say it, or as a manifest has it."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from triptych.cli import arguments as args
from triptych.cli.opening import Changes, Sampling
from triptych.cli.reporting import warn
from triptych.cli.terminal import decoding, remark
from triptych.core.counted import counted
from triptych.core.dataclass import dataclass
from triptych.core.errors import InputError

if TYPE_CHECKING:
    from triptych.cli.inside import Looks
    from triptych.core.config.spec import PipelineSpec
    from triptych.core.pipeline import Pipeline
    from triptych.core.reply import Reply
    from triptych.core.request import Request
    from triptych.recording.again import Again, FirstDifference

STDIN = "-"

COMES_FIRST = {
    "sampler": ("sampler", "temperature", "top_k", "top_p", "no_sample"),
    "stop.max_new_tokens": ("max_new_tokens",),
    "stop.strings": ("stop",),
}
"""Addresses in a pipeline, and the settings of a request that come before what is there."""

From = Annotated[
    Path | None,
    typer.Option(
        "--from",
        metavar="MANIFEST",
        help="Ask again what --record noted, a manifest.json or its folder, and say what differs.",
        rich_help_panel=args.REQUEST,
    ),
]


@dataclass(frozen=True)
class Flags:
    """The flags that say the request; None, False and empty where they were not given."""

    pipeline: str
    text: str | None
    image: Sequence[str]
    video: Sequence[str]
    system: str | None
    max_new_tokens: int | None
    sampling: Sampling
    seed: int | None
    stop: Sequence[str]

    def request(self) -> RunRequest:
        """What they ask. Raises InputError."""
        from triptych.core.request import Request

        if self.text is None:
            raise InputError("Missing option '--text'.\n  see: triptych run --help")
        return RunRequest(
            self.pipeline,
            Request(_read(self.text), images=self.image, videos=self.video, system=self.system),
            {
                "max_new_tokens": self.max_new_tokens,
                "seed": self.seed,
                "stop": list(self.stop) or None,
            },
            self.sampling,
        )

    def again(self, manifest: Path) -> RunRequest:
        """What a manifest asks. Raises RecordingError, and InputError for flags beside it."""
        from triptych.recording.again import Again

        given = {
            "PIPELINE": self.pipeline != args.DEFAULT_PIPELINE,
            "--text": self.text is not None,
            "--image": self.image,
            "--video": self.video,
            "--system": self.system is not None,
            "--max-new-tokens": self.max_new_tokens is not None,
            "sampling flags": self.sampling != Sampling(),
            "--seed": self.seed is not None,
            "--stop": self.stop,
        }
        beside = [name for name, value in given.items() if value]
        if beside:
            raise InputError(
                f"--from says the whole request; leave out {', '.join(beside)}, or ask without it"
            )
        again = Again(manifest)
        return RunRequest(again.config, again.request, again.settings, Sampling(), again)


@dataclass(frozen=True)
class RunRequest:
    """A request, and the pipeline that it is put to.

    pipeline: what was typed, or the content of a resolved pipeline. again: where it comes from a
    manifest.
    """

    pipeline: str | Mapping[str, Any]
    request: Request
    settings: Mapping[str, Any]
    sampling: Sampling
    again: Again | None = None

    def load(self, changes: Changes, looks: Looks) -> Pipeline:
        """The pipeline, for what looks at the answer; stages that it stands in for are not loaded.

        Says what is not as it was recorded. Raises what loading raises.
        """
        again, taps = self.again, looks.ports
        media = bool(self.request.images or self.request.videos)
        skips = None if looks.replay is None else looks.replay.skips
        if again is None:
            return changes.load(self.pipeline, self.sampling, media=media, taps=taps, skips=skips)

        def check(spec: PipelineSpec) -> None:
            if not changes.allow_outside:
                again.check_files(spec)
            for line in again.differences(spec, looks.stood_in):
                warn(line)

        _check_heard(changes, self.settings)
        needed = [path for path in again.plugins if Path(path) not in _absolute(changes.plugin)]
        if needed:
            flags = " ".join(f"--plugin {path}" for path in needed)
            raise InputError(f"the answer was made with plugin files; give them, too: {flags}")
        outside = replace(changes, allow_outside=True)
        return outside.load(self.pipeline, media=media, taps=taps, check=check, skips=skips)

    def compared(self, reply: Reply) -> FirstDifference | None:
        """Where the reply leaves the recorded one."""
        return None if self.again is None else self.again.first_difference(reply)


def say_compared(reply: Reply, difference: FirstDifference | None) -> None:
    """Say whether an answer is the recorded one."""
    if difference is None:
        remark(f"the same {counted(len(reply.tokens), 'token')} as recorded")
    else:
        warn(f"the answer is another: {difference}")


def reproduced(asked: RunRequest, difference: FirstDifference | None) -> dict[str, Any]:
    """What `--json` says of an answer that was asked for again."""
    if asked.again is None:
        return {}
    said = None if difference is None else vars(difference)
    return {"reproduced": difference is None, "first_difference": said}


def _check_heard(changes: Changes, settings: Mapping[str, Any]) -> None:
    """Raises InputError for a change of what the recorded request says itself."""
    given = [("--set", text, text.partition("=")[0]) for text in changes.set or ()]
    given += [("--replace", text, re.split("[=:]", text)[0]) for text in changes.replace or ()]
    given += [("--remove", text, text) for text in changes.remove or ()]
    given += [("--insert", text, text.partition(" ")[2]) for text in changes.insert or ()]
    for flag, text, address in given:
        for known, names in COMES_FIRST.items():
            said = [name for name in names if _says(settings.get(name))]
            if said and f"{address.strip()}.".startswith(f"{known}."):
                raise InputError(
                    f"{flag} {text!r} would change nothing: the recorded request says its "
                    f"{' and '.join(said)} itself; ask without --from, or change its settings in "
                    "the manifest"
                )


def _says(setting: Any) -> bool:
    """Whether a setting takes the place of what the pipeline has; a temperature of 0 does."""
    return setting is not None and setting is not False and setting != []


def _absolute(files: Sequence[Path] | None) -> list[Path]:
    return [file.absolute() for file in files or ()]


def _read(text: str) -> str:
    """What `--text` says; stdin without the newline that ends it."""
    if text != STDIN:
        return text
    with decoding():
        return sys.stdin.read().removesuffix("\n")

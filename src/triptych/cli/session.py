"""A conversation that the commands of `triptych chat` act upon."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from triptych.cli import saved
from triptych.cli.interrupt import Interruptible
from triptych.cli.run import say, show_pieces, summary
from triptych.cli.terminal import remark
from triptych.core.errors import InputError
from triptych.core.messages import guess
from triptych.core.pipeline import Pipeline
from triptych.core.request import Request
from triptych.core.requests.options import CallOptions

SETTINGS = ("max_new_tokens", "seed", "temperature", "top_k", "top_p", "no_sample", "stop")
"""What `/set` takes: the settings of a call, but for a whole chain."""

PATIENCE = 3
"""Presses of Ctrl-C that end the process in spite of the conversation."""


class Session:
    """One conversation, and what the next message takes along.

    settings: those of every call. images, videos: paths of what the next message shows.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        *,
        system: str | None = None,
        settings: Mapping[str, Any] | None = None,
        verbose: bool = False,
    ) -> None:
        self.pipeline = pipeline
        self.chat = pipeline.chat(system=system)
        self.settings: dict[str, Any] = dict(settings or {})
        self.images: list[str] = []
        self.videos: list[str] = []
        self._verbose = verbose

    @property
    def name(self) -> str:
        """What the pipeline is called in saved conversations."""
        source = self.pipeline.spec.source
        return str(source.absolute()) if source is not None else "pipeline"

    def ask(self, text: str) -> None:
        """Send a message with the pictures and videos that wait; print the reply as it comes.

        They are used up, also when it fails. Raises TriptychError.
        """
        images, videos = self.images, self.videos
        self.images, self.videos = [], []
        stream = self.chat.stream(text, images=images, videos=videos, **self.settings)
        with Interruptible(stream.cancel, presses=PATIENCE) as interrupt, stream:
            show_pieces(stream, quiet=False)
        say("\n")
        if interrupt.pressed:
            remark("cancelled; what there is stays in the conversation")
        if self._verbose:
            remark(summary(stream.reply))

    def attach(self, path: str) -> None:
        """Show a picture with the next message. Raises InputError for one that cannot be used."""
        place = str(Path(path).expanduser())
        self.pipeline.count_tokens(Request(messages=[saved.question("", images=[place])]))
        self.images.append(place)

    def attach_video(self, path: str) -> None:
        """Show a video with the next message. Raises InputError for one that cannot be used."""
        place = str(Path(path).expanduser())
        self.pipeline.count_tokens(Request(messages=[saved.question("", videos=[place])]))
        self.videos.append(place)

    def change(self, name: str, value: Any) -> None:
        """Set a setting of the calls to come; None gives it back to the pipeline.

        Raises InputError or ConfigError, with the settings as they were.
        """
        if name not in SETTINGS:
            hint = guess(name, SETTINGS)
            raise InputError(
                f"there is no setting {name!r}{hint} (settings: {', '.join(SETTINGS)})"
            )
        changed = {key: old for key, old in self.settings.items() if key != name}
        if value is not None:
            changed[name] = value
        self.pipeline.spec.sampler_for(flags=CallOptions.of(changed).flags)
        self.settings = changed

    def save(self, path: Path) -> None:
        """Write the conversation. Raises InputError."""
        saved.write(path, saved.Conversation(self.name, self.chat.messages, self.settings))

    def load(self, path: Path) -> str | None:
        """Go on from a saved conversation; a remark, where there is something to say.

        Raises InputError or ConfigError, with the conversation as it was.
        """
        found = saved.read(path)
        messages, said = list(found.messages), None
        if found.pipeline != self.name and any("tokens" in message for message in messages):
            messages = [
                {key: value for key, value in message.items() if key != "tokens"}
                for message in messages
            ]
            said = f"saved with {found.pipeline}, so its replies are tokenized anew"
        if messages:
            self.pipeline.count_tokens(Request(messages=messages))
        before, self.settings = self.settings, {}
        try:
            for name, value in found.settings.items():
                self.change(name, value)
        except BaseException:
            self.settings = before
            raise
        self.chat.messages = messages
        self.images, self.videos = [], []
        return said

    def clear(self) -> None:
        """Forget the conversation, but for its system message, and what waits to be shown."""
        self.chat.clear()
        self.images, self.videos = [], []

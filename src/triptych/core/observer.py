"""Looking at ports while stages run, and standing in for stages.

An observer belongs to one generation. Whoever has none pays for nothing: the phases ask a sequence
whether it is watched, and that is all.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from triptych.core.errors import InputError, PluginError, TriptychError
from triptych.core.graphs.device import on_cpu
from triptych.core.messages import guess
from triptych.core.ports import Array, Port, When

if TYPE_CHECKING:
    from triptych.core.pipeline import Pipeline
    from triptych.core.prompt import Media, Prompt
    from triptych.core.reply import Reply
    from triptych.core.request import Request
    from triptych.core.sequences.sequence import Sequence as TokenSequence

CORE, PROCESSOR = "core", "processor"
"""Who writes the ports that no stage does; a `Moment` has them in the place of a label."""


@dataclass(eq=False)
class Moment:
    """Where in a run ports are written.

    writer: the label of a stage, or `CORE` or `PROCESSOR`. writes: its ports, as declared.
    sequence: which one of the generation's. when: the phase.
    tokens: int64 [S], the ids that enter or are forwarded. source: int64 [S], the place of each
        among the tokens as they were given, before any was pruned.
    rows: int64 [R], of which of these tokens logits are wanted; None on INPUT. Of slices of which
        none are, observers see no port with this axis: graphs compute a row that nobody reads.
    media: what enters; empty on SPAN. per_media: the stage's results belong to each item by
        itself. began: by `time.perf_counter`. seconds: that the stage took, once it has written.

    The arrays are valid during the call, as those are that were written.
    """

    writer: str
    writes: tuple[Port, ...]
    sequence: TokenSequence
    when: When
    tokens: Array
    source: Array
    rows: Array | None = None
    media: tuple[Media, ...] = ()
    per_media: bool = False
    began: float = field(default_factory=time.perf_counter)
    seconds: float | None = None


@dataclass(frozen=True)
class Asked:
    """What an answer is to be made of. settings: those of the call. observer: who looks at it."""

    pipeline: Pipeline
    prompt: Prompt
    request: Request | None
    settings: Mapping[str, Any]
    observer: Observer


class Observer:
    """Sees what the stages write for one reply, and may stand in for some of them.

    What is not overridden does nothing.

    ports: the names of those that it looks at; None: all that are written. Ports on demand are
        computed from then on.
    stands_in: `instead` is to be asked. Its sequences are then forwarded one at a time.
    """

    ports: Collection[str] | None = ()
    stands_in: bool = False

    @property
    def stood_in(self) -> Sequence[str]:
        """Who stands in for stages, as a manifest says it; empty where nobody does."""
        return [type(self).__name__] if self.stands_in else []

    def begin(self, asked: Asked) -> None:
        """Called once, before anything runs; what it raises refuses the request."""

    def instead(self, moment: Moment) -> Mapping[str, Array] | None:  # noqa: ARG002
        """What the stage would write, by the pipeline's names; None: run it; empty: skip it.

        What it raises ends the generation.
        """
        return None

    def saw(self, moment: Moment, written: Mapping[str, Array]) -> None:
        """Called after a stage, with those of `ports` that it wrote, also if these are none.

        The arrays are valid during the call. When it raises, the generation goes on unseen, and
        the error is raised to whoever asks for the reply.
        """

    def end(self, reply: Reply) -> None:
        """Called once, when the generation has ended, however that was."""


class Watch:
    """An observer at its generation. error: why it sees no more."""

    def __init__(self, observer: Observer) -> None:
        self.observer = observer
        self.stands_in = observer.stands_in
        self.error: TriptychError | None = None
        self._ports = None if observer.ports is None else frozenset(observer.ports)

    def wants(self, names: Iterable[str]) -> bool:
        """Whether one of these ports is looked at."""
        return self._ports is None or not self._ports.isdisjoint(names)

    def instead(self, moment: Moment) -> Mapping[str, Array] | None:
        """See `Observer.instead`."""
        return self.observer.instead(moment) if self.stands_in else None

    def show(self, moment: Moment, written: Mapping[str, Array]) -> None:
        """Let the observer see what was written; never raises."""
        if self.error is not None:
            return
        if moment.seconds is None:
            moment.seconds = time.perf_counter() - moment.began
        unwanted = moment.rows is not None and not len(moment.rows)
        seen = {
            port.name: written[port.name]
            for port in moment.writes
            if port.name in written
            and self.wants([port.name])
            and not (unwanted and "R" in port.axes)
        }
        try:
            self.observer.saw(moment, on_cpu(seen))
        except Exception as error:  # noqa: BLE001 - others are in the same pass
            self.error = self._said(error)

    def end(self, reply: Reply) -> None:
        """Let the observer finish; never raises."""
        try:
            self.observer.end(reply)
        except Exception as error:  # noqa: BLE001 - the reply is as good as without it
            self.error = self.error or self._said(error)

    def _said(self, error: Exception) -> TriptychError:
        if isinstance(error, TriptychError):
            return error
        name = type(self.observer).__name__
        made = PluginError(f"the observer {name} raised {type(error).__name__}: {error}")
        made.__cause__ = error
        return made


def check_names(names: Iterable[str], known: Collection[str]) -> None:
    """Raises InputError for a name that is no port's, with the nearest one."""
    for name in names:
        if name not in known:
            hint = guess(name, known)
            raise InputError(f"there is no port {name!r}{hint} (ports: {', '.join(sorted(known))})")

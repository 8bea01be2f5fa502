"""A generation in the hands of the scheduler: what its strategy waits for, and its end."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any

from triptych.core.errors import PluginError, TriptychError
from triptych.core.ports import Array
from triptych.core.sequences.generation import RunningGeneration
from triptych.core.spans import Logits, Span
from triptych.core.wiring.needs import joined


@dataclass(eq=False, slots=True)
class Wanted:
    """A span that a strategy waits for, and the logits there are: float32 [rows, V] in parts.

    missing: rows that are still to come.
    """

    span: Span
    missing: int
    parts: list[Array] = field(default_factory=list)

    def add(self, part: Array) -> None:
        """Note the logits of some of its rows."""
        self.parts.append(part)
        self.missing -= len(part)

    @property
    def logits(self) -> Array:
        """All of them."""
        return joined(self.parts)


@dataclass(eq=False, slots=True)
class Job:
    """A generation and the strategy that drives it.

    release: gives back what the generation holds; called once, when it has ended.
    prepare: called once, when its turn has come and before its strategy begins.
    cancelled: set it from any thread; the generation then ends before its next slice.
    done: it has ended. error: why, if it was not meant to.
    """

    generation: RunningGeneration
    steps: Generator[list[Span], list[Logits], None]
    name: str
    release: Callable[[], None]
    prepare: Callable[[], None] | None = None
    wanted: list[Wanted] = field(default_factory=list)
    cancelled: bool = False
    done: bool = False
    error: Exception | None = None
    served: int = 0
    """The round in which it was last given a slice of its prompt."""

    @property
    def tokens(self) -> int:
        """How many tokens its sequence may come to hold."""
        generation = self.generation
        longest = len(generation.prompt.tokens) + generation.stop.max_new_tokens
        return min(longest, generation.sequence.max_length)

    @property
    def waits(self) -> bool:
        """Whether logits are missing that its strategy waits for."""
        for wanted in self.wanted:  # noqa: SIM110 - asked for every token, and `any` takes longer
            if wanted.missing:
                return True
        return False

    @property
    def ready(self) -> bool:
        """Whether there is something to read, or nothing more to come."""
        return self.done or bool(self.generation.pieces)

    def ask(self, logits: list[Logits] | None) -> None:
        """Send the strategy its logits, and take the spans that it wants next.

        Raises PluginError for what it wants, or does, that cannot be.
        """
        try:
            spans: Any = next(self.steps) if logits is None else self.steps.send(logits)
        except StopIteration:
            if self.generation.finish_reason is None:
                raise PluginError(
                    f"strategy {self.name} returned before the generation had ended; it goes on "
                    "until `emit` gives True"
                ) from None
            return
        except TriptychError:
            raise
        except Exception as cause:
            raise PluginError(
                f"strategy {self.name} raised {type(cause).__name__}: {cause}"
            ) from cause
        self.wanted = self._wanted(spans)

    def end(self) -> None:
        """End it once; whatever it raises is its own error."""
        if self.done:
            return
        self.done = True
        for act in (self.steps.close, self.generation.cancel, self.release):
            try:
                act()
            except Exception as cause:  # noqa: BLE001 - it may be anybody's code
                self.error = self.error or PluginError(
                    f"strategy {self.name} could not be ended: {type(cause).__name__}: {cause}"
                )

    def _wanted(self, spans: Any) -> list[Wanted]:
        """What the strategy wants next."""
        wanted = []
        for span in spans if isinstance(spans, list) else (None,):
            if not isinstance(span, Span):
                raise PluginError(
                    f"strategy {self.name} yielded {spans!r}; it must yield a list of Spans"
                )
            rows, pending = span.rows, span.sequence.pending
            if not 1 <= rows <= pending:
                raise PluginError(
                    f"strategy {self.name} wants the logits of {rows} tokens, but "
                    f"{pending} are pending; append first, and ask for those"
                )
            wanted.append(Wanted(span, rows))
        if not wanted:
            raise PluginError(f"strategy {self.name} asked for no span; it must yield one at least")
        if len(wanted) > 1 and len({id(one.span.sequence) for one in wanted}) < len(wanted):
            raise PluginError(
                f"strategy {self.name} asked for two spans of one sequence; "
                "ask for one of more rows"
            )
        return wanted

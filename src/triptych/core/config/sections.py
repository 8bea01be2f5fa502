"""The fixed sections of a pipeline file: when to stop, and how graphs are run."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveInt, StringConstraints

from triptych.core.feature_cache import DEFAULT_BYTES as FEATURE_BYTES
from triptych.core.settings import Settings

MOST_THREADS = 1024
"""More than any machine has cores; making very many takes the machine away for minutes."""

Text = Annotated[str, StringConstraints(min_length=1)]


class StopSettings(Settings):
    """max_new_tokens: the longest reply. strings: texts that end a reply and are not shown."""

    max_new_tokens: PositiveInt = 100
    strings: tuple[Text, ...] = Field(default=(), strict=False)


class SessionSettings(Settings):
    """How graphs are run.

    providers: execution providers, the preferred first. threads: of the one CPU pool.
    max_context: the longest sequence, in tokens; None: the model's own.
    chunk: the longest slice that is forwarded at once, in tokens; None: the scheduler's choice.
    feature_cache: bytes of what stages made of images and videos that are kept for later
        requests; false: none.
    prefix_cache: whether later requests go on from what they share with earlier ones; or how many
        bytes of keys and values are kept for that.
    """

    providers: tuple[Text, ...] = Field(default=("cpu",), min_length=1, strict=False)
    threads: Literal["auto"] | Annotated[int, Field(gt=0, le=MOST_THREADS)] = "auto"
    max_context: PositiveInt | None = None
    chunk: PositiveInt | None = None
    feature_cache: Literal[False] | PositiveInt = FEATURE_BYTES
    prefix_cache: bool | PositiveInt = True

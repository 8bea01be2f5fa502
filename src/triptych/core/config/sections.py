"""The fixed sections of a pipeline file: when to stop, and how graphs are run."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveInt, StringConstraints

from triptych.core.config.settings import Settings
from triptych.core.config.size import SIZE
from triptych.core.sequences.feature_cache import DEFAULT_BYTES as FEATURE_BYTES
from triptych.core.system.memory import total_memory

MOST_THREADS = 1024
"""More than any machine has cores; making very many takes the machine away for minutes."""

MOST_ROWS = 1024
"""More than pays on any processor."""

Size = Annotated[str, StringConstraints(pattern=SIZE)]
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
    max_batch: requests in progress at once, whose next tokens are forwarded together.
    cache_memory: bytes that the caches of all of them may take, ``4GB``, or ``auto``: half of the
        machine's. A request for which there is no room waits; one alone always runs.
    feature_cache: bytes of what stages made of images and videos that are kept for later
        requests; false: none.
    prefix_cache: whether later requests go on from what they share with earlier ones; or how many
        bytes of keys and values are kept for that.
    pool: whether graphs share one pool of threads; with `own`, other parts of the program may make
        sessions of ONNX Runtime as they like, and steps take longer.
    preload: read the weights of graphs that pictures alone need at once, not with the first one.
    graph_cache: keep what ONNX Runtime makes of large graphs on disk, for the next start.
    """

    providers: tuple[Text, ...] = Field(default=("cpu",), min_length=1, strict=False)
    threads: Literal["auto"] | Annotated[int, Field(gt=0, le=MOST_THREADS)] = "auto"
    max_context: PositiveInt | None = None
    chunk: PositiveInt | None = None
    max_batch: Annotated[int, Field(ge=1, le=MOST_ROWS)] = 8
    cache_memory: Literal["auto"] | PositiveInt | Size = "auto"
    feature_cache: Literal[False] | PositiveInt = FEATURE_BYTES
    prefix_cache: bool | PositiveInt = True
    pool: Literal["shared", "own"] = "shared"
    preload: bool = False
    graph_cache: bool = True

    @property
    def cache_bytes(self) -> int:
        """What `cache_memory` says, as a number of bytes."""
        if self.cache_memory == "auto":
            return total_memory() // 2
        if isinstance(self.cache_memory, int):
            return self.cache_memory
        return size_in_bytes(self.cache_memory)


def size_in_bytes(text: str) -> int:
    """The bytes that a `Size` says: ``4GB`` is 4e9, ``4GiB`` is 4 * 2**30."""
    number, unit = text.rstrip("KMGTiB "), text.lstrip("0123456789. ")
    base = 1024 if "i" in unit else 1000
    return int(float(number) * base ** " KMGT".index(unit[0] if len(unit) > 1 else " "))

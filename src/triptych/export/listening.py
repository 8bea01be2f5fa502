"""Prompts forwarded by a pipeline, and somebody who listens at its decoder."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from triptych.core.assembly.assembly import assemble
from triptych.core.clock import Clock
from triptych.core.components.catalog import Catalog
from triptych.core.config.load import load_spec
from triptych.core.execution.execution import Executor
from triptych.core.ports import Array
from triptych.core.request import Request
from triptych.core.stages import Stage
from triptych.core.wiring.wired import Wired

Hear = Callable[[Stage, Mapping[str, Array]], None]
"""Called with a stage that keeps a cache, and what it was fed, after each of its runs."""


def forward_prompts(
    folder: Path, requests: Iterable[Request], *, catalog: Catalog, hear: Hear
) -> Iterator[None]:
    """Forward one prompt after another, whole; nothing is generated.

    folder: a pipeline. Prompts with pictures are left out for a model that takes none. Raises
    InputError for a request that the pipeline does not take.
    """
    assembly = assemble(load_spec(folder, catalog=catalog))
    loaded = assembly.load()

    def heard(wired: Wired) -> Wired:
        if not wired.stage.cache_pairs:
            return wired
        return replace(wired, stage=cast("Any", _Listening(wired.stage, hear)))

    wiring = replace(loaded.wiring, span=tuple(map(heard, loaded.wiring.span)))
    executor = Executor(wiring, loaded.offers, loaded.caches, loaded.max_length)
    for request in requests:
        if request.images and not loaded.offers:
            continue
        prompt = assembly.processor.prompt(request)
        sequence = executor.sequence()
        try:
            sequence.append(prompt.tokens, prompt.media)
            executor.enter(sequence, Clock())
            executor.forward(sequence, len(sequence), 1, Clock())
        finally:
            sequence.close()
        yield


class _Listening:
    """A stage that is listened to; in all else it is the stage."""

    def __init__(self, stage: Stage, hear: Hear) -> None:
        self._stage, self._hear = stage, hear

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stage, name)

    def __call__(self, ports: Mapping[str, Array]) -> Mapping[str, Array]:
        given: Mapping[str, Array] = self._stage(ports)
        self._hear(self._stage, ports)
        return given

"""From the flags that change a pipeline to a pipeline."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from triptych.cli.reporting import warn
from triptych.cli.terminal import Waiting
from triptych.core.dataclass import dataclass

if TYPE_CHECKING:
    from triptych.core.config.spec import PipelineSpec
    from triptych.core.pipeline import Pipeline
    from triptych.core.wiring.wired import Wiring


@dataclass(frozen=True)
class Sampling:
    """The sampling flags; None and False where they were not given."""

    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    no_sample: bool = False


@dataclass(frozen=True)
class Changes:
    """The flags that change a pipeline; None where they were not given."""

    set: Sequence[str] | None = None
    insert: Sequence[str] | None = None
    replace: Sequence[str] | None = None
    remove: Sequence[str] | None = None
    plugin: Sequence[Path] | None = None
    allow_outside: bool = False

    def spec(
        self, pipeline: str | Mapping[str, Any], sampling: Sampling | None = None
    ) -> PipelineSpec:
        """The pipeline's description with the changes applied. Raises ConfigError.

        pipeline: what was typed, or the content of a resolved pipeline.
        """
        from triptych.core.components.catalog import Catalog
        from triptych.core.config.chain import SamplingFlags
        from triptych.core.config.edits import parse_set
        from triptych.core.config.load import load_spec

        sampling = sampling or Sampling()
        spec = load_spec(
            pipeline,
            catalog=Catalog(list(self.plugin or ())),
            overrides=[parse_set(text) for text in self.set or ()],
            insert=list(self.insert or ()),
            replace=[_as_yaml(text) for text in self.replace or ()],
            remove=list(self.remove or ()),
            flags=SamplingFlags(
                temperature=sampling.temperature,
                top_k=sampling.top_k,
                top_p=sampling.top_p,
                no_sample=sampling.no_sample,
                spoken="flags",
            ),
            allow_outside=self.allow_outside,
            spoken="flags",
        )
        for text in spec.warnings:
            warn(f"{_called(pipeline)}: {text}")
        return spec

    def load(
        self,
        pipeline: str | Mapping[str, Any],
        sampling: Sampling | None = None,
        *,
        media: bool = False,
        taps: Sequence[str] = (),
        check: Callable[[PipelineSpec], None] | None = None,
        skips: Callable[[Wiring], Collection[str]] | None = None,
    ) -> Pipeline:
        """The pipeline, loaded. media: some will come, so nothing waits for the first.

        taps: ports that will be looked at. check: called with what is to be loaded. skips: says
        which stages will not be run, by label.
        Raises ConfigError and GraphError, InputError for a tap that is no port.
        """
        begin = time.perf_counter()
        with Waiting(f"loading {_called(pipeline)}"), self._head_start(pipeline):
            from triptych.core.assembly.assembly import assemble

            spec = self.spec(pipeline, sampling)
            if check is not None:
                check(spec)
            if media:
                session = spec.session.model_copy(update={"preload": True})
                spec = replace(spec, session=session)
            assembly = assemble(spec, taps=taps)
            assembly.begin(without=() if skips is None else skips(assembly.wiring))
            # Imported while the weights are being read.
            from triptych.core.pipeline import Pipeline

            return Pipeline(spec, begin=begin, assembly=assembly)

    @contextmanager
    def _head_start(self, pipeline: str | Mapping[str, Any]) -> Iterator[None]:
        """Open beside the block what the last start of the same file opened.

        With flags that change the pipeline it may be other graphs.
        """
        from triptych.core.config.locate import locate
        from triptych.core.config_error import ConfigError
        from triptych.core.graphs.head_start import head_start

        file = None
        with suppress(ConfigError):
            file = locate(pipeline) if isinstance(pipeline, str) and self == Changes() else None
        if file is None:
            yield
            return
        with head_start(file):
            yield


def _called(pipeline: str | Mapping[str, Any]) -> str:
    return pipeline if isinstance(pipeline, str) else "the recorded pipeline"


def _as_yaml(replacement: str) -> str:
    """``LABEL=ITEM`` as the core has it, ``LABEL: ITEM``; both are understood."""
    label, equals, item = replacement.partition("=")
    return f"{label.strip()}: {item}" if equals and ":" not in label else replacement

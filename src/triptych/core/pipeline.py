"""A loaded pipeline: what people call from Python."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from triptych.core.assembly import assemble
from triptych.core.catalog import Catalog
from triptych.core.config.chain import SamplingFlags
from triptych.core.config.errors import nearest
from triptych.core.config.load import load_spec
from triptych.core.config.spec import PipelineSpec
from triptych.core.errors import InputError
from triptych.core.execution import Clock
from triptych.core.generation import RunningGeneration, StopRules
from triptych.core.ports import Array
from triptych.core.prompt import Prompt
from triptych.core.reply import Piece, Reply, Score, Timings, Usage
from triptych.core.request import Message, Request
from triptych.core.sampling.chain import Chain
from triptych.core.scheduler import Job, Scheduler
from triptych.core.sequence import Entry
from triptych.core.sequence import Sequence as TokenSequence
from triptych.core.spans import Span
from triptych.core.stream import Stream

if TYPE_CHECKING:
    from triptych.core.chat import Chat

__all__ = ["Piece", "Pipeline", "Reply", "Score", "load"]

CONCURRENCY = 8
"""How many requests of a batch are in progress at once."""


def load(
    source: str | Path = "sketch",
    *,
    overrides: Mapping[str, Any] | None = None,
    insert: Sequence[Any] = (),
    replace: Mapping[str, Any] | None = None,
    remove: Sequence[str] = (),
    plugins: Sequence[str | Path] = (),
    allow_outside: bool = False,
) -> Pipeline:
    """Load a pipeline: a folder with a ``pipeline.yaml``, a YAML file, or ``"sketch"``.

    overrides: settings by dotted path, ``{"sampler.top_p": 0.8}``. insert, replace, remove:
    swap stages without editing the file. plugins: files that offer ``local/NAME``.
    allow_outside: let the file name files outside of its folder.

    Raises ConfigError for what is wrong in the file or the changes, GraphError for a graph
    that does not load.
    """
    begin = time.perf_counter()
    spec = load_spec(
        source,
        catalog=Catalog([Path(plugin) for plugin in plugins]),
        overrides=overrides or {},
        insert=insert,
        replace=replace or {},
        remove=remove,
        allow_outside=allow_outside,
    )
    return Pipeline(spec, begin=begin)


class Pipeline:
    """One loaded pipeline; any number of threads may use it at once."""

    def __init__(self, spec: PipelineSpec, *, begin: float | None = None) -> None:
        """Build, check and load what `spec` describes. Raises ConfigError and GraphError."""
        begin = time.perf_counter() if begin is None else begin
        assembly = assemble(spec)
        self.spec = spec
        self.processor = assembly.processor
        self._executor = assembly.load()
        self._scheduler = Scheduler(self._executor, chunk=spec.session.chunk)
        self.load_seconds = time.perf_counter() - begin

    def generate(self, request: str | Request | None = None, **options: Any) -> Reply:
        """The whole reply to `request`; takes the keywords of `stream`."""
        return self.stream(request, **options).reply

    def stream(
        self,
        request: str | Request | None = None,
        *,
        messages: Sequence[Message] | None = None,
        images: Sequence[Any] = (),
        system: str | None = None,
        **settings: Any,
    ) -> Stream:
        """The reply to `request`, piece by piece.

        request: the user's text, or a `Request`, which then says everything but `settings`.
        messages, images, system: see `Request`.
        settings: `max_new_tokens`, `temperature`, `top_k`, `top_p`, `no_sample`, `sampler` (a
        chain such as ``[{"temperature": 0.3}, "draw"]``), `seed`, `stop` (strings that end the
        reply). They hold for this call.

        Raises InputError for a request that cannot be served, ConfigError for a wrong chain.
        """
        if isinstance(request, Request):
            if messages is not None or images or system is not None:
                raise InputError("give either a Request or its parts as keywords, not both")
            whole = request
        else:
            whole = Request(request, messages, images, system)
        prompt = self.processor.prompt(whole)
        return self.begin(prompt, {**whole.settings, **settings}, request_id=whole.id)

    def chat(self, *, system: str | None = None, **settings: Any) -> Chat:
        """A conversation that keeps its cache from turn to turn; settings as in `stream`."""
        from triptych.core.chat import Chat

        return Chat(self, system=system, settings=settings)

    def generate_batch(
        self, requests: Iterable[Request], *, concurrency: int = CONCURRENCY, **settings: Any
    ) -> list[Reply]:
        """The replies to `requests`, in their order, several in progress at once.

        A request gets the same tokens as alone. Raises the error of the first request that
        fails, when the ones before it are done.
        """
        waiting = list(requests)
        streams: list[Stream] = []
        replies: list[Reply] = []
        try:
            for done in range(len(waiting)):
                while len(streams) < min(done + max(concurrency, 1), len(waiting)):
                    streams.append(self.stream(waiting[len(streams)], **settings))
                replies.append(streams[done].reply)
        finally:
            for stream in streams:
                stream.close()
        return replies

    def count_tokens(self, request: str | Request, *, images: Sequence[Any] = ()) -> int:
        """How many tokens the prompt of `request` has, those of its images included."""
        return len(self.processor.prompt(_request(request, images)).tokens)

    def score(
        self, request: str | Request, completion: str | Sequence[int], *, images: Sequence[Any] = ()
    ) -> Score:
        """How likely `completion` (text, or token ids) is as the reply to `request`.

        Raises InputError for an empty completion.
        """
        prompt = self.processor.prompt(_request(request, images))
        if isinstance(completion, str):
            tokens = self.processor.encode(completion)
        else:
            tokens = [int(token) for token in completion]
        if not tokens:
            raise InputError("score: the completion is empty; give at least one token")
        sequence = self._executor.sequence()
        try:
            sequence.append(prompt.tokens, prompt.media)
            sequence.append(tokens[:-1])
            logits = self._scheduler.collect(Span(sequence, rows=len(tokens)), Clock())
        finally:
            sequence.close()
        rows = logits.astype(np.float64)
        shifted = rows - rows.max(axis=-1, keepdims=True)
        logprobs = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
        chosen = logprobs[np.arange(len(tokens)), tokens]
        return Score(tuple(tokens), tuple(chosen.tolist()), float(chosen.sum()))

    def run_until(self, port: str, request: str | Request, *, images: Sequence[Any] = ()) -> Array:
        """What is in `port` when the whole prompt of `request` is run in one slice.

        Stages after the one that writes it are not run. Raises InputError for a port that
        nobody writes for this request.
        """
        prompt = self.processor.prompt(_request(request, images))
        with self._scheduler.lock:
            sequence = self._executor.sequence()
            try:
                ports = self._executor.probe(sequence, Entry(prompt.tokens, prompt.media), port)
            finally:
                sequence.close()
        if port not in ports:
            written = self._executor.port_names()
            near = nearest(port, written)
            hint = f"; did you mean {near!r}?" if near and near != port else ""
            why = "is not written for this request" if port in written else "is written by nobody"
            raise InputError(f"port {port!r} {why}{hint} (ports: {', '.join(sorted(written))})")
        return np.array(ports[port])

    def begin(
        self,
        prompt: Prompt,
        settings: Mapping[str, Any],
        *,
        request_id: str | None = None,
        sequence: TokenSequence | None = None,
        branches: dict[str, TokenSequence] | None = None,
        done: Callable[[Reply], None] | None = None,
    ) -> Stream:
        """Start to generate after `prompt`.

        sequence, branches: what to go on with, as a chat does; they stay open. done: called
        with the reply when it has ended.
        """
        options = _Options(settings)
        max_length = self._executor.max_length
        if len(prompt.tokens) >= max_length:
            raise InputError(
                f"the prompt has {len(prompt.tokens)} tokens ({prompt.image_tokens} of them for "
                f"images), but there is room for {max_length - 1} before the first new one; "
                "shorten it, or raise session.max_context"
            )
        parts = self.spec.sampler_for(flags=options.flags, sampler=options.sampler)
        seed = secrets.randbits(32) if options.seed is None else options.seed
        chain = Chain(
            [part.make() for part in parts],
            seed=seed,
            prompt_tokens=prompt.tokens,
            source=self._logits_writer(),
            names=[f"sampler.{part.label}" for part in parts],
        )
        stop = StopRules(
            frozenset(self.processor.eos_ids),
            self.spec.stop.strings if options.stop is None else options.stop,
            options.max_new_tokens or self.spec.stop.max_new_tokens,
        )
        own = sequence is None
        sequence = self._executor.sequence() if sequence is None else sequence
        with self._scheduler.lock:
            sequence.align(prompt)
        branches = {} if branches is None else branches
        generation = RunningGeneration(
            prompt,
            sequence,
            chain,
            processor=self.processor,
            stop=stop,
            branches=branches,
            new_sequence=self._executor.sequence,
        )
        strategy = self.spec.strategy.make()
        job = self._scheduler.submit(generation, strategy, self.spec.strategy.label)

        def finish(job: Job) -> Reply:
            if own:
                with self._scheduler.lock:
                    for used in (sequence, *branches.values()):
                        used.close()
            reply = self._reply(job.generation, seed, request_id)
            if done is not None:
                done(reply)
            return reply

        return Stream(self._scheduler, job, finish=finish)

    def sequence(self) -> TokenSequence:
        """A new, empty sequence of this pipeline's."""
        return self._executor.sequence()

    def _logits_writer(self) -> str:
        for wired in reversed(self._executor.wiring.span):
            if "logits" in [write.port.name for write in wired.writes]:
                return wired.label
        return "nobody"

    def _reply(self, generation: RunningGeneration, seed: int, request_id: str | None) -> Reply:
        clock, prefill = generation.clock, generation.prefill_seconds
        prefill = clock.forward if prefill is None else prefill
        return Reply(
            text=generation.text,
            tokens=tuple(generation.tokens),
            finish_reason=generation.finish_reason or "cancelled",
            usage=Usage(
                len(generation.prompt.tokens),
                generation.prompt.image_tokens,
                len(generation.tokens),
            ),
            timings=Timings(self.load_seconds, clock.vision, prefill, clock.forward - prefill),
            seed=seed,
            id=request_id,
        )


class _Options:
    """The per-call settings, checked."""

    KNOWN = (
        "max_new_tokens",
        "temperature",
        "top_k",
        "top_p",
        "no_sample",
        "sampler",
        "seed",
        "stop",
    )

    def __init__(self, settings: Mapping[str, Any]) -> None:
        for name in settings:
            if name not in self.KNOWN:
                near = nearest(name, self.KNOWN)
                hint = f"; did you mean {near!r}?" if near else ""
                raise InputError(
                    f"there is no setting {name!r}{hint} (settings: {', '.join(self.KNOWN)})"
                )
        self.sampler: Sequence[Any] | None = settings.get("sampler")
        self.flags = SamplingFlags(
            temperature=settings.get("temperature"),
            top_k=settings.get("top_k"),
            top_p=settings.get("top_p"),
            no_sample=bool(settings.get("no_sample", False)),
        )
        self.seed = _whole_number("seed", settings.get("seed"), least=0)
        self.max_new_tokens = _whole_number(
            "max_new_tokens", settings.get("max_new_tokens"), least=1
        )
        stop = settings.get("stop")
        self.stop = None if stop is None else _strings(stop)


def _whole_number(name: str, value: Any, *, least: int) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise InputError(f"{name} is {value!r}; it must be a whole number of at least {least}")
    return int(value)


def _strings(value: Any) -> tuple[str, ...]:
    strings = (value,) if isinstance(value, str) else tuple(value)
    if not all(isinstance(text, str) and text for text in strings):
        raise InputError(f"stop is {value!r}; it must be a text, or a list of texts, none empty")
    return strings


def _request(request: str | Request, images: Sequence[Any]) -> Request:
    if isinstance(request, Request):
        if images:
            raise InputError("give the images in the Request, not beside it")
        return request
    return Request(request, images=images)

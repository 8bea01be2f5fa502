"""A loaded pipeline: what people call from Python."""

from __future__ import annotations

import secrets
import time
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from triptych.core.assembly.assembly import Assembly, assemble, check_chain
from triptych.core.assembly.prefixes import least_forwarded, prefix_cache
from triptych.core.clock import Clock
from triptych.core.components.catalog import Catalog
from triptych.core.config.load import load_spec
from triptych.core.config.part import Part
from triptych.core.config.spec import PipelineSpec
from triptych.core.config_error import ConfigError
from triptych.core.errors import InputError, TriptychError
from triptych.core.execution.job import Job
from triptych.core.execution.scheduler import Scheduler
from triptych.core.messages import guess
from triptych.core.observer import Asked, Observer, Watch
from triptych.core.ports import Array
from triptych.core.prompt import Prompt
from triptych.core.reply import Reply, Score, Timings, Usage
from triptych.core.request import Message, Request
from triptych.core.requests.batch import Batch
from triptych.core.requests.options import CallOptions
from triptych.core.requests.stream import Stream
from triptych.core.sampling.chain import Chain
from triptych.core.sampling.logprobs import log_softmax
from triptych.core.sequences.generation import RunningGeneration, StopRules
from triptych.core.sequences.sequence import Sequence as TokenSequence
from triptych.core.spans import Span, Strategy
from triptych.core.wiring.needs import find_needed
from triptych.core.wiring.placement import Placement
from triptych.core.wiring.wired import MEDIA_PORTS, Wiring

if TYPE_CHECKING:
    from triptych.core.requests.chat import Chat


def load(
    source: str | Path = "sketch",
    *,
    overrides: Mapping[str, Any] | None = None,
    insert: Sequence[Any] = (),
    replace: Mapping[str, Any] | None = None,
    remove: Sequence[str] = (),
    plugins: Sequence[str | Path] = (),
    allow_outside: bool = False,
    taps: Sequence[str] = (),
) -> Pipeline:
    """Load a pipeline: a folder with a ``pipeline.yaml``, a YAML file, or ``"sketch"``.

    A folder of graphs that another tool made is recognised by their ports, too; what a person
    should know of it is warned of.

    overrides: settings by dotted path, ``{"sampler.top_p": 0.8}``. insert, replace, remove:
    swap stages without editing the file. plugins: files that offer ``local/NAME``.
    allow_outside: let the file name files outside of its folder. taps: ports that an observer will
    look at; they count as read, and what is computed on demand is from the start.

    Raises ConfigError for what is wrong in the file or the changes, GraphError for a graph
    that does not load.
    """
    begin = time.perf_counter()
    if isinstance(plugins, str | Path):
        plugins = [plugins]
    spec = load_spec(
        source,
        catalog=Catalog([Path(plugin) for plugin in plugins]),
        overrides=overrides or {},
        insert=insert,
        replace=replace or {},
        remove=remove,
        allow_outside=allow_outside,
    )
    for text in spec.warnings:
        warnings.warn(f"{source}: {text}", stacklevel=2)
    return Pipeline(spec, begin=begin, assembly=assemble(spec, taps=taps))


class Pipeline:
    """One loaded pipeline; any number of threads may use it at once."""

    def __init__(
        self,
        spec: PipelineSpec,
        *,
        begin: float | None = None,
        assembly: Assembly | None = None,
    ) -> None:
        """Build, check and load what `spec` describes. Raises ConfigError and GraphError.

        begin: when that began, for `load_seconds`. assembly: what was built of `spec` already.
        """
        begin = time.perf_counter() if begin is None else begin
        assembly = assemble(spec) if assembly is None else assembly
        self.spec = spec
        self.processor = assembly.processor
        self._executor = assembly.load()
        self._prefixes = prefix_cache(assembly)
        self._executor.join = self._prefixes.join
        self._executor.evict_idle = self._prefixes.evict_one
        self._retake = least_forwarded(assembly.wiring)
        self._strategy: Strategy = self._made(spec.strategy)
        self._scheduler = Scheduler(self._executor, chunk=spec.session.chunk)
        self.load_seconds = time.perf_counter() - begin

    @property
    def wiring(self) -> Wiring:
        """Its stages, in the order in which they run, with the ports that they read and write."""
        return self._executor.wiring

    @property
    def placements(self) -> tuple[Placement, ...]:
        """On which device each port of each stage lives, and what is copied when."""
        return self._executor.placements

    def generate(self, request: str | Request | None = None, **options: Any) -> Reply:
        """The whole reply to `request`; takes the keywords of `stream`."""
        return self.stream(request, **options).reply

    def stream(
        self,
        request: str | Request | None = None,
        *,
        messages: Sequence[Message] | None = None,
        images: Sequence[Any] = (),
        videos: Sequence[Any] = (),
        system: str | None = None,
        observer: Observer | None = None,
        **settings: Any,
    ) -> Stream:
        """The reply to `request`, piece by piece.

        request: the user's text, or a `Request`, which then says everything but `settings`.
        messages, images, videos, system: see `Request`.
        observer: sees what the stages write for this reply, or stands in for some of them; such as
        the `Recorder`, `Tap` and `Replay` of `triptych.recording`. The prompt is then forwarded
        whole, whatever is known of it.
        settings: `max_new_tokens`, `temperature`, `top_k`, `top_p`, `no_sample`, `sampler` (a
        chain such as ``[{"temperature": 0.3}, "draw"]``), `seed`, `stop` (strings that end the
        reply), `logprobs` (say how likely each token was, and so many of the likeliest ones).
        They hold for this call.

        Raises InputError for a request that cannot be served, ConfigError for a wrong chain.
        """
        if isinstance(request, Request):
            if messages is not None or images or videos or system is not None:
                raise InputError("give either a Request or its parts as keywords, not both")
            whole = request
        else:
            whole = Request(request, messages, images, system, videos=videos)
        prompt = self.processor.prompt(whole)
        every = {**whole.settings, **settings}
        return self.begin(prompt, every, request=whole, request_id=whole.id, observer=observer)

    def chat(self, *, system: str | None = None, **settings: Any) -> Chat:
        """A conversation that keeps its cache from turn to turn; settings as in `stream`."""
        from triptych.core.requests.chat import Chat

        return Chat(self, system=system, settings=settings)

    def generate_batch(
        self, requests: Iterable[Request], *, concurrency: int | None = None, **settings: Any
    ) -> list[Reply]:
        """The replies to `requests`, in their order.

        concurrency: how many are in progress at once; None: `session.max_batch`. A request gets
        the same tokens as alone. Raises the error of the first request that fails, when the ones
        before it are done; its message begins with the request's index and id. Raises InputError
        for a concurrency below 1.
        """
        if concurrency is not None and concurrency < 1:
            raise InputError(f"concurrency={concurrency}: at least one request is in progress")
        most = self.spec.session.max_batch if concurrency is None else concurrency
        return Batch(requests, lambda one: self.stream(one, **settings), most).replies()

    def count_tokens(
        self, request: str | Request, *, images: Sequence[Any] = (), videos: Sequence[Any] = ()
    ) -> int:
        """How many tokens the prompt of `request` has, those of images and videos included."""
        return len(self.processor.prompt(_request(request, images, videos)).tokens)

    def score(
        self,
        request: str | Request,
        completion: str | Sequence[int],
        *,
        images: Sequence[Any] = (),
        videos: Sequence[Any] = (),
    ) -> Score:
        """How likely `completion` (text, or token ids) is as the reply to `request`.

        Raises InputError for an empty completion.
        """
        prompt = self.processor.prompt(_request(request, images, videos))
        self._check_prompt(prompt)
        given: Any = completion
        if not isinstance(given, Iterable):
            raise InputError(
                f"score: the completion is text or token ids, not {type(given).__name__}"
            )
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
            with self._scheduler.exclusive():
                sequence.close()
        for token in tokens:
            if not 0 <= token < logits.shape[-1]:
                raise InputError(
                    f"score: there is no token {token}; the model has {logits.shape[-1]}"
                )
        chosen = log_softmax(logits)[np.arange(len(tokens)), tokens]
        return Score(tuple(tokens), tuple(chosen.tolist()), float(chosen.sum()))

    def run_until(
        self,
        port: str,
        request: str | Request,
        *,
        images: Sequence[Any] = (),
        videos: Sequence[Any] = (),
    ) -> Array:
        """What is in `port` when the whole prompt of `request` is run in one slice.

        Stages after the one that writes it are not run. Of what a reducer took out it has nothing;
        `source` says which tokens of the prompt are left. Where a stage between decoders drops
        tokens, ports written before it have all of them and those behind it the ones that are left;
        `keep_tokens` says which. Raises InputError for a port that nobody writes for this request.
        """
        prompt = self.processor.prompt(_request(request, images, videos))
        self._check_prompt(prompt)
        names = self._executor.port_names()
        if port in names:
            with self._scheduler.exclusive():
                found = self._executor.probe(prompt, port).get(port)
                if found is not None:
                    return np.array(found)
        hint = guess(port, names)
        why = "is not written for this request" if port in names else "is written by nobody"
        raise InputError(f"port {port!r} {why}{hint} (ports: {', '.join(sorted(names))})")

    def begin(
        self,
        prompt: Prompt,
        settings: Mapping[str, Any],
        *,
        request: Request | None = None,
        request_id: str | None = None,
        sequence: TokenSequence | None = None,
        branches: dict[str, TokenSequence] | None = None,
        done: Callable[[Reply], None] | None = None,
        observer: Observer | None = None,
    ) -> Stream:
        """Start to generate after `prompt`.

        request: what the prompt was made of, for strategies that make another prompt of it.
        sequence, branches: what to go on with, as a chat does; they stay open. done: called
        with the reply when it has ended. observer: of a new sequence; see `stream`.
        """
        options = CallOptions.of(settings)
        self._check_prompt(prompt)
        seed = secrets.randbits(32) if options.seed is None else options.seed
        chain = self._chain(options, seed, prompt)
        stop = StopRules(
            frozenset(self.processor.eos_ids),
            self.spec.stop.strings if options.stop is None else options.stop,
            options.max_new_tokens or self.spec.stop.max_new_tokens,
        )
        watch = self._watch(observer, prompt, request, settings)
        own = sequence is None
        sequence = self.sequence(watch) if sequence is None else sequence
        with self._scheduler.exclusive():
            if watch is None:
                self._prefixes.begin(sequence, prompt)
            else:
                sequence.align(prompt)
        branches = {} if branches is None else branches
        generation = RunningGeneration(
            prompt,
            sequence,
            chain,
            processor=self.processor,
            stop=stop,
            branches=branches,
            new_sequence=lambda: self.sequence(watch),
            company=lambda: self._scheduler.company,
            request=request,
        )

        def release() -> None:
            # Before it goes on elsewhere.
            generation.cached_tokens = sequence.reused
            if watch is None:
                self._prefixes.end(sequence, owned=not own)
            else:
                sequence.close()
                watch.end(self._reply(generation, seed, request_id))
            for used in branches.values():
                if own:
                    used.close()
                else:
                    used.close_forks()

        def finish(job: Job) -> Reply:
            reply = self._reply(job.generation, seed, request_id)
            if watch is not None and watch.error is not None and job.error is None:
                raise watch.error
            if done is not None and job.error is None:
                done(reply)
            return reply

        try:
            job = self._scheduler.submit(
                generation, self._strategy, self.spec.strategy.name, release=release
            )
        except BaseException:
            with self._scheduler.exclusive():
                release()
            raise
        return Stream(self._scheduler, job, finish=finish)

    def _chain(self, options: CallOptions, seed: int, prompt: Prompt) -> Chain:
        """The sampling chain of one call, of whose steps logits carry what they need.

        Raises ConfigError.
        """
        parts = self.spec.sampler_for(flags=options.flags, sampler=options.sampler)
        steps = [part.make() for part in parts]
        check_chain(self._strategy, parts, steps)
        self._provide(parts, steps)
        return Chain(
            steps,
            seed=seed,
            prompt_tokens=prompt.tokens,
            source=self._executor.wiring.logits_from,
            names=[f"sampler.{part.label}" for part in parts],
            vocabulary=self.processor,
            top=options.logprobs,
        )

    def _watch(
        self,
        observer: Observer | None,
        prompt: Prompt,
        request: Request | None,
        settings: Mapping[str, Any],
    ) -> Watch | None:
        """What sequences are watched by. Raises InputError for a port that is not there."""
        if observer is None:
            return None
        with self._scheduler.exclusive():
            self._executor.observe(observer.ports or ())
        observer.begin(Asked(self, prompt, request, settings, observer))
        return Watch(observer)

    def _provide(self, parts: Sequence[Part], steps: Sequence[object]) -> None:
        """Have logits carry what the steps of a chain need. Raises ConfigError."""
        ports = [
            port
            for part, step in zip(parts, steps, strict=True)
            for port in find_needed(part, getattr(step, "needs", ()), self._executor.wiring)
        ]
        if ports:
            with self._scheduler.exclusive():
                self._executor.need(ports)

    def _made(self, part: Part) -> Strategy:
        """The strategy, with weights of its own if it has any. Raises ConfigError."""
        strategy: Strategy = part.make()
        load = getattr(strategy, "load", None)
        if load is not None:
            try:
                load(self.processor)
            except TriptychError as error:
                cause = f"{part.name}: {error}"
                raise ConfigError(part.where, cause, exit_code=error.exit_code) from error
        return strategy

    def _check_prompt(self, prompt: Prompt) -> None:
        """Raises InputError for a prompt that is empty or leaves no room for a new token.

        Also for media that no stage looks at: the answer would ignore them without a word.
        """
        if prompt.media and not self._looks_at_media():
            raise InputError(
                f"no stage of this pipeline looks at the request's {prompt.media[0].kind}; ask "
                "without it, or add a stage that does, such as vision_encoder"
            )
        room = self._executor.max_length - 1
        if not len(prompt.tokens):
            raise InputError("the prompt is empty; give it some text")
        if len(prompt.tokens) > room:
            raise InputError(
                f"the prompt has {len(prompt.tokens)} tokens ({prompt.image_tokens} of them for "
                f"images and videos), but there is room for {room} before the first new one; "
                "shorten it, or raise session.max_context"
            )

    def _looks_at_media(self) -> bool:
        """Whether a stage reads media; one that only places them (positions) does not look."""
        offered = {port.name for port in (*self._executor.offers, *MEDIA_PORTS)}
        return any(
            offered & {read.port.name for read in wired.reads}
            and "next_position" not in {write.port.name for write in wired.writes}
            for wired in self._executor.wiring.stages
        )

    def sequence(self, watch: Watch | None = None) -> TokenSequence:
        """A new, empty sequence of this pipeline's. watch: who sees what stages write for it."""
        sequence = self._executor.sequence()
        sequence.retake = self._retake
        sequence.watch = watch
        return sequence

    def open(self, prompt: Prompt) -> TokenSequence:
        """A sequence that is `prompt`, begun with what the prefix cache has of it.

        For code that decodes by itself, with `logits`; `keep` gives it back. Raises InputError.
        """
        self._check_prompt(prompt)
        sequence = self.sequence()
        with self._scheduler.exclusive():
            self._prefixes.begin(sequence, prompt)
        return sequence

    def logits(self, sequence: TokenSequence, rows: int = 1) -> Array:
        """Forward what is pending in `sequence`; the logits of its last `rows` tokens.

        float32 [rows, V], valid until the pipeline's next pass.
        """
        return self._scheduler.collect(Span(sequence, rows), Clock())

    def keep(self, sequence: TokenSequence) -> None:
        """Give back a sequence that was opened; later prompts may go on from it."""
        with self._scheduler.exclusive():
            self._prefixes.end(sequence)

    def clear(self, sequences: Iterable[TokenSequence]) -> None:
        """Empty sequences of this pipeline's, whatever else is running."""
        with self._scheduler.exclusive():
            for sequence in sequences:
                sequence.clear()

    def discard(self, sequences: Iterable[TokenSequence]) -> None:
        """Give back what sequences of this pipeline's hold, when nobody has them any more.

        Never waits, so that a finalizer may call it.
        """
        self._scheduler.discard(sequences)

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
                generation.cached_tokens,
                generation.image_tokens_kept,
            ),
            timings=Timings(self.load_seconds, clock.vision, prefill, clock.forward - prefill),
            seed=seed,
            id=request_id,
            # An EOS was chosen, too, but is not part of the reply.
            logprobs=tuple(generation.chain.logprobs[: len(generation.tokens)]),
        )


def _request(request: str | Request, images: Sequence[Any], videos: Sequence[Any]) -> Request:
    if isinstance(request, Request):
        if images or videos:
            raise InputError("give images and videos in the Request, not beside it")
        return request
    return Request(request, images=images, videos=videos)

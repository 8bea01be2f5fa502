"""A whole pipeline in numpy, for tests that need no weights.

Its text is numbers: ``"3 1 4"`` are the tokens 3, 1 and 4. An image is ``(height, width, seed)``,
in patches. The decoder attends over a real key/value cache, in float64, so that one pass and many
give the same tokens. Every stage spoils what it gave before when it runs again, as stages may.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from pydantic import Field

from tests.plugins.strategies.stateful import RepetitionPenalty
from triptych import Component, InputError, Settings, hookimpl
from triptych.core.components.entry import Entry, Origin
from triptych.core.config.part import Part
from triptych.core.config.settings import CacheItem
from triptych.core.config_error import Where
from triptych.core.execution.execution import Clock, Executor
from triptych.core.execution.scheduler import Scheduler
from triptych.core.ports import CachePair, Port, When
from triptych.core.prompt import Media, Prompt, digest_of
from triptych.core.sampling import Chain
from triptych.core.sequences.generation import RunningGeneration, StopRules
from triptych.core.spans import Span
from triptych.core.wiring.cache_needs import Shown
from triptych.core.wiring.wiring import wire

VOCABULARY = 32
HIDDEN = 8
HEADS = 2
LAYERS = 2
PATCH = 4
UNLIKELY = 24
"""A token that is hardly ever chosen."""


@hookimpl
def processors():
    return [Component("numbers", ":Numbers", "text that is numbers", main="vocabulary")]


@hookimpl
def stages():
    return [
        Component("vision", ":Vision", "features of patches"),
        Component("embed", ":Embed", "embeddings"),
        Component("decode", ":Decode", "logits"),
        Component("windowed", ":Windowed", "logits, with a cache of choice"),
        Component("unloadable", ":Unloadable", "fails to load"),
        Component("every_third", ":EveryThird", "keeps every nth visual row", main="nth"),
    ]


@hookimpl
def strategies():
    return [Component("forks", ":Forks", "looks ahead in forks that it never closes")]


@hookimpl
def samplers():
    return [
        Component("liar", ":Liar", "chooses what is not there", role="choose"),
        Component("penalty", ":Penalty", "makes repetition unlikely", main="factor", role="warp"),
    ]


class Numbers:
    """The processor. The last ids are special, as in tests/export/checkpoints.py."""

    class Settings(Settings):
        vocabulary: int = VOCABULARY
        patch: int = PATCH
        ends: tuple[int, ...] = ()
        max_context: int = 4096

    def __init__(self, settings=None):
        settings = settings or self.Settings()
        self.vocabulary = settings.vocabulary
        self.image, _, self.begin, self.end, self.stop = range(self.vocabulary)[-5:]
        roles = ("user", "assistant", "system")
        self.roles = {role: self.vocabulary - 8 + place for place, role in enumerate(roles)}
        self.patch = settings.patch
        self.eos_ids = frozenset(settings.ends)
        self.max_context = settings.max_context
        self.offers = (
            Port("pixel_values", "float32", ("patches", self.patch)),
            Port("image_grid_thw", "int64", ("images", 3)),
        )
        self.computed = []

    def prompt(self, request):
        if request.messages is None:
            return self._prompt([*map(_picture, request.images), *self.encode(request.text)])
        parts = []
        for message in request.messages:
            parts.append(self.roles[message["role"]])
            parts += message["tokens"] if "tokens" in message else self._parts(message["content"])
            parts.append(self.stop)
        return self._prompt([*parts, self.roles["assistant"]])

    def encode(self, text):
        return [int(word) for word in text.split()]

    def decode(self, tokens):
        return "".join(f"{token} " for token in tokens if token != self.stop)

    def _parts(self, content):
        if isinstance(content, str):
            return self.encode(content)
        parts = []
        for part in content:
            if part["type"] == "image":
                parts.append(_picture(part["image"]))
            else:
                parts += self.encode(part["text"])
        return parts

    def _prompt(self, parts):
        tokens, media = [], []
        for part in parts:
            if not isinstance(part, tuple):
                tokens.append(part)
                continue
            height, width, _ = part
            rows = height * width // 4
            tokens.append(self.begin)
            at = np.arange(len(tokens), len(tokens) + rows)
            media.append(Media("image", digest_of(str(part)), at, lambda p=part: self._compute(*p)))
            tokens += [self.image] * rows + [self.end]
        return Prompt(np.array(tokens, np.int64), tuple(media))

    def _compute(self, height, width, seed):
        self.computed.append((height, width, seed))
        if seed < 0:
            raise InputError("the image is truncated")
        pixels = np.random.default_rng(seed).uniform(-1, 1, (height * width, self.patch))
        return {
            "pixel_values": pixels.astype(np.float32),
            "image_grid_thw": np.array([[1, height, width]]),
        }


def _picture(image):
    height, width, *seed = image
    return height, width, *(seed or [0])


class Spoils:
    """What a stage gave is NaN once it has run again."""

    given = ()

    def give(self, **ports):
        for stale in self.given:
            stale.fill(np.nan)
        self.given = tuple(value for value in ports.values() if value.dtype.kind == "f")
        return ports


def cache_pair(part, *, heads=HEADS, size=HIDDEN // HEADS):
    """A past and a present with the axes of a decoder's."""
    axes = ("B", heads, "max_len", size)
    past, present = Port(f"past.{part}", "float64", axes), Port(part, "float64", axes)
    return CachePair(past, present, 0, part)


def _weights(*key):
    return np.random.default_rng(key)


class Vision(Spoils):
    """Features of patches [patches, PATCH]: per 4 patches in a row one visual row [H]."""

    when = When.INPUT
    whole = False
    reads = (
        Port("pixel_values", "float32", ("patches", PATCH)),
        Port("image_grid_thw", "int64", ("images", 3)),
    )
    writes = (
        Port("image_features", "float64", ("N", HIDDEN)),
        Port("deepstack_features", "float64", (LAYERS, "N", HIDDEN)),
    )
    cache_pairs = ()

    def __init__(self):
        self.runs = []

    def __call__(self, ports):
        self.runs.append(len(ports["image_grid_thw"]))
        joined = ports["pixel_values"].reshape(-1, 4 * PATCH).astype(float)
        first, *deep = (
            np.tanh(joined @ _weights(7, layer).normal(size=(4 * PATCH, HIDDEN)))
            for layer in range(1 + LAYERS)
        )
        return self.give(image_features=first, deepstack_features=np.stack(deep))


class Embed(Spoils):
    when = When.SPAN
    whole = False
    reads = (Port("input_ids", "int64", ("B", "S")),)
    writes = (Port("inputs_embeds", "float64", ("B", "S", HIDDEN)),)
    cache_pairs = ()
    table = _weights(1).normal(size=(VOCABULARY, HIDDEN))

    def __call__(self, ports):
        return self.give(inputs_embeds=self.table[ports["input_ids"]])


class Decode(Spoils):
    """One layer of causal attention, over a cache that it extends in place."""

    when = When.SPAN
    whole = False
    cache_pairs = tuple(cache_pair(part) for part in ("key", "value"))
    reads = (
        Port("inputs_embeds", "float64", ("B", "S", HIDDEN)),
        Port("deepstack_embeds", "float64", (LAYERS, "B", "S", HIDDEN), absent=0),
        Port("position_ids", "int64", (3, "B", "S")),
        Port("attention_mask", "int64", ("B", "total")),
        Port("logit_index", "int64", ("B", "R")),
        *(pair.past for pair in cache_pairs),
    )
    writes = (Port("logits", "float64", ("B", "R", VOCABULARY)),)
    projections = _weights(2).normal(size=(3, HIDDEN, HIDDEN))
    turn = _weights(3).normal(size=(3, HIDDEN))
    head = 2 * _weights(4).normal(size=(HIDDEN, VOCABULARY))
    head[:, UNLIKELY] = 0

    def __init__(self):
        self.slices = []
        self.batches_of = []
        """How many rows each run had."""
        self.fails_at = None
        """A token at which it raises, after it has written to its cache."""

    def __call__(self, ports):
        batch, count, _ = ports["inputs_embeds"].shape
        self.slices.append(count)
        self.batches_of.append(batch)
        assert batch == 1 or count == 1, "as GroupQueryAttention on a CPU has it"
        rows = [self._row(ports, row) for row in range(batch)]
        if (
            self.fails_at is not None
            and (ports["inputs_embeds"] == Embed.table[self.fails_at]).all(-1).any()
        ):
            raise ArithmeticError("the numbers do not add up")
        return self.give(logits=np.stack(rows))

    def _row(self, ports, row):
        deep = ports["deepstack_embeds"].sum(0)
        text = ports["inputs_embeds"][row]
        embeds = text + deep[row if len(deep) > 1 else 0]
        count, total = len(embeds), int(ports["attention_mask"][row].sum())
        placed = embeds + np.sin(ports["position_ids"][:, row].T @ self.turn)
        query, key, value = (
            (x @ weight).reshape(count, HEADS, -1).swapaxes(0, 1)
            for x, weight in zip((placed, placed, embeds), self.projections, strict=True)
        )
        keys, values = ports["past.key"][row], ports["past.value"][row]
        keys[:, total - count : total] = key
        values[:, total - count : total] = value
        scores = query @ keys[:, :total].swapaxes(1, 2)
        future = np.arange(total) > np.arange(total - count, total)[:, None]
        weights = np.exp(np.where(future, -np.inf, scores - scores.max(-1, keepdims=True)))
        weights /= weights.sum(-1, keepdims=True)
        seen = (weights @ values[:, :total]).swapaxes(0, 1).reshape(count, HIDDEN)
        return (np.tanh(placed + seen) @ self.head)[ports["logit_index"][row]]


class Windowed(Decode):
    """A decoder whose cache is a setting."""

    class Settings(Settings):
        cache: CacheItem = Field(default="full", validate_default=True)

    def __init__(self, settings):
        super().__init__()
        self.cache = settings.cache


class Unloadable(Decode):
    reads = (Port("input_ids", "int64", ("B", "S")),)
    cache_pairs = ()

    def load(self, runtime):
        raise OSError("no such weights")


class EveryThird:
    class Settings(Settings):
        nth: int = 3

    when = When.INPUT
    whole = False
    reads = (Port("image_features", "float32", ("N", "H")),)
    writes = (Port("keep_rows", "bool", ("N",)),)
    cache_pairs = ()

    def __init__(self, settings):
        self.nth = settings.nth

    def __call__(self, ports):
        return {"keep_rows": np.arange(len(ports["image_features"])) % self.nth == 0}


class Penalty(RepetitionPenalty):
    class Settings(Settings):
        factor: float

    def __init__(self, settings):
        super().__init__(settings.factor)


class Forks:
    speculates = False

    def run(self, generation):
        while True:
            [rows] = yield [Span(generation.sequence)]
            token = generation.chain.choose(rows[-1])
            fork = generation.sequence.fork()
            fork.append([token])
            yield [Span(fork)]
            generation.sequence.append([token])
            if generation.emit(token):
                return


class Liar:
    def __call__(self, candidates, context):
        return 1000


def same(actual, expected):
    """The same logits, but for the order in which floats were added."""
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-11)


def fake_stages(*more, replace=None):
    """The five stages of a pipeline, by label, with `replace` in the places of some.

    more: (label of the stage before, label, stage).
    """
    from triptych.plugins.embeddings.merge import Merge
    from triptych.plugins.positions.mrope import MRope

    labelled = {
        "vision": Vision(),
        "mrope": MRope(MRope.Settings()),
        "embed": Embed(),
        "merge": Merge(Merge.Settings()),
        "decode": Decode(),
        **(replace or {}),
    }
    items = list(labelled.items())
    for before, label, stage in more:
        index = [name for name, _ in items].index(before) + 1 if before else 0
        items.insert(index, (label, stage))
    return items


class FakeStage:
    """A stage of ports and a function from the ports it reads to those it writes."""

    cache_pairs = ()

    def __init__(self, reads, writes, call=None, *, when=When.INPUT, whole=False, pairs=()):
        self.reads, self.writes, self.call = tuple(reads), tuple(writes), call
        self.when, self.whole, self.cache_pairs = when, whole, tuple(pairs)
        self.runs = 0

    def __call__(self, ports):
        self.runs += 1
        return self.call(**ports)


def part(label, *, ports=None, ignore=(), line=1):
    """Where a stage stands in a pipeline file."""
    component = Component(label, ":None", "")
    where = Where("pipeline.yaml", line, 5, f"stages.{label}")
    return Part(
        label, Entry(component, "stages", Origin()), None, where, ports or {}, tuple(ignore)
    )


def fake_wiring(items, *, offers=None, changes=None):
    """Wire (label, stage) pairs; changes: `ports` and `ignore` by label."""
    changes = changes or {}
    parts = [
        (part(label, line=index + 1, **changes.get(label, {})), stage)
        for index, (label, stage) in enumerate(items)
    ]
    return wire(parts, offers=Numbers().offers if offers is None else offers)


@dataclass
class FakePipeline:
    """An executor and its scheduler over fake stages, with a full cache where nothing else is said.

    batch: how many requests are in progress at once. allocated: how many buffers the caches have
    reserved.
    """

    items: list = field(default_factory=fake_stages)
    policy: object = None
    max_length: int = 200
    chunk: int | None = None
    batch: int = 8
    memory: int | None = None
    changes: dict = field(default_factory=dict)
    shown: Shown = field(default_factory=Shown)

    def __post_init__(self):
        from triptych.plugins.caches.full import Full

        self.processor = Numbers()
        self.stages = dict(self.items)
        self.allocated = 0
        wiring = fake_wiring(self.items, changes=self.changes)
        policy = self.policy or Full()
        self.caches = {
            wired.label: policy.make(wired.stage.cache_pairs, self.max_length, self._allocate)
            for wired in wiring.stages
            if wired.stage.cache_pairs
        }
        self.executor = Executor(
            wiring,
            self.processor.offers,
            self.caches,
            self.max_length,
            rows=self.batch,
            memory=self.memory,
            exact=policy.exact,
            shown=self.shown,
        )
        self.scheduler = Scheduler(self.executor, chunk=self.chunk)

    def prompt(self, text="1 2 3", images=()):
        from triptych import Request

        return self.processor.prompt(Request(text, images=images))

    def sequence(self, text="1 2 3", images=()):
        prompt = self.prompt(text, images)
        sequence = self.executor.sequence()
        sequence.append(prompt.tokens, prompt.media)
        return sequence

    def forward(self, sequence, rows=1):
        """All logits of a span, in slices of `chunk`."""
        return self.scheduler.collect(Span(sequence, rows), Clock())

    def logits(self, text="1 2 3", images=(), *, tail=0):
        """The last logits of a prompt, in a fresh sequence."""
        sequence = self.sequence(text, images)
        logits = self.forward(sequence, rows=1 + tail)
        sequence.close()
        return logits

    def generation(self, prompt, steps=None, *, seed=0, sequence=None, **stop):
        """A generation that a strategy can run; stop: fields of StopRules."""
        from triptych.plugins.samplers.greedy import Greedy

        sequence = self.executor.sequence() if sequence is None else sequence
        sequence.align(prompt)
        rules = {"eos_ids": frozenset(), "strings": (), "max_new_tokens": 12, **stop}
        return RunningGeneration(
            prompt,
            sequence,
            Chain(steps or [Greedy()], seed=seed, prompt_tokens=prompt.tokens),
            processor=self.processor,
            stop=StopRules(**rules),
            branches={},
            new_sequence=self.executor.sequence,
        )

    @property
    def leased(self):
        """Slots that nobody gave back."""
        return sum(len(cache.leased) for cache in self.caches.values())

    def _allocate(self, shape, dtype):
        self.allocated += 1
        # A slot's memory may hold anything that an earlier sequence left.
        return np.full(shape, np.nan, dtype)


def pipeline_file(folder: Path, *, extra="") -> Path:
    """A pipeline file over these fakes, which `plugins=[fakes.__file__]` makes known.

    It is greedy, ends after 12 tokens, and, unless `extra` speaks of it, every request forwards
    all of its prompt. extra: YAML of further keys.
    """
    if "prefix_cache" not in extra:
        if "session: {" in extra:
            extra = extra.replace("session: {", "session: {prefix_cache: false, ")
        else:
            extra = f"{extra}\nsession: {{prefix_cache: false}}"
    file = folder / "pipeline.yaml"
    stages = "[local/vision, mrope, local/embed, merge, local/decode]"
    head = {"processor": "local/numbers", "stages": stages, "sampler": "[greedy]"}
    given = {line.partition(":")[0] for line in extra.splitlines()}
    lines = [f"{key}: {value}" for key, value in head.items() if key not in given]
    if "stop" not in given:
        lines.append("stop: {max_new_tokens: 12}")
    file.write_text("\n".join(["format: 1", *lines, extra]), encoding="utf-8")
    return file


def watch_slots(pipe):
    """A list that every cache slot joins which a loaded pipeline leases from now on."""
    slots = []
    for cache in pipe._executor.caches.values():
        lease = cache.lease
        cache.lease = lambda lease=lease: slots.append(lease()) or slots[-1]
    return slots

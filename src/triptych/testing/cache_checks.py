"""What every cache policy promises, as checks: ``check_cache(Window, size=8)``."""

from __future__ import annotations

from typing import Any

import numpy as np

from triptych.core.cache import Pool, Watches
from triptych.core.ports import Array, CachePair, Port
from triptych.core.wiring.cache_needs import names_needed
from triptych.testing.check import Check, check, declares_neutral
from triptych.testing.require import require
from triptych.testing.settings_checks import SETTINGS
from triptych.testing.subject import Subject

HEADS, SIZE, LAYERS = 2, 3, 2
QUERY_HEADS = 4
"""Two heads of queries share one of keys."""
MAX_LENGTH = 96
TEXT_MARK = 1000
"""What the rows of another text have more."""
LENGTHS = (7, 1, 1, 3, 1, 12, 1, 1, 1, 9, 1, 1, 1, 1)
"""Tokens of each forward; none is longer than a policy has room for."""


def check_cache(kind: type, **settings: Any) -> None:
    """Check the cache policy class `kind` with these settings, as a decoder would use it.

    A row that a decoder writes holds its token's index, so what a policy keeps can be read. Of
    what it needs, a policy is shown made-up values: attention [4, S, total], columns of the
    sequence's table such as `visual_index` [S], and [S, 8] of others.
    Returns None, or raises AssertionError with a sentence that says what it breaks. The promises
    are `CHECKS`, one by one.
    """
    check(Subject("cache", kind, settings))


def sound_binding(subject: Subject) -> None:
    """A slot's pasts are the same buffers all its life, and the mask covers what is kept.

    Columns beyond a row's own are zeros.
    """
    require(
        isinstance(getattr(subject.make(), "exact", None), bool),
        f"{subject.name} must say `exact = True` or `False`.",
    )
    run = _Run(subject)
    first = None
    for count in LENGTHS:
        binding = run.forward(count)
        names = {pair.past.name for pair in PAIRS}
        require(
            binding.pasts.keys() == names,
            f"{subject.name} bound {', '.join(binding.pasts)}, not {', '.join(sorted(names))}.",
        )
        for name, past in binding.pasts.items():
            fits = past.shape[0] >= 1 and past.shape[1] == HEADS and past.shape[3] == SIZE
            require(fits, f"{subject.name} bound {name} of shape {list(past.shape)}.")
        first = first or {name: id(past) for name, past in binding.pasts.items()}
        require(
            first == {name: id(past) for name, past in binding.pasts.items()},
            f"{subject.name} bound other objects the next time; a stage's bindings stay.",
        )
        mask = binding.ports.get("attention_mask")
        sound = (
            isinstance(mask, np.ndarray)
            and mask.dtype == np.int64
            and mask.shape[:1] == next(iter(binding.pasts.values())).shape[:1]
            and mask.sum() >= 1
            and (np.diff(mask) <= 0).all()
        )
        require(sound, f"{subject.name} gave the attention_mask {mask!r}; ones, then zeros.")


def never_empty(subject: Subject) -> None:
    """There is always room for the next token, and the newest one is kept."""
    run = _Run(subject)
    for _ in range(MAX_LENGTH - 1):
        run.forward(1)
        kept = run.kept()
        newest = run.length - 1
        require(
            len(kept) and kept[-1] == newest,
            f"{subject.name} did not keep the newest token, {newest}, of {run.length}.",
        )
        require(run.slot.room >= 1, f"{subject.name} has no room after {run.length} tokens.")


def unique_ids(subject: Subject) -> None:
    """Each row is another token's, in the order of the tokens."""
    run = _Run(subject)
    for count in LENGTHS:
        run.forward(count)
        kept = run.kept()
        ordered = kept == sorted(set(kept))
        require(ordered, f"{subject.name} keeps rows of the tokens {kept}, not each once in order.")


def truncates(subject: Subject) -> None:
    """`truncate` drops what comes after, or says that it cannot."""
    for length in (LENGTHS[0] - 2, sum(LENGTHS[:6]), sum(LENGTHS) - 1):
        run = _Run(subject)
        for count in LENGTHS:
            run.forward(count)
        if not run.slot.truncate(length):
            continue
        kept, run.length = run.kept(), length
        require(
            all(token < length for token in kept),
            f"{subject.name} kept {kept[-1:]} when it was cut back to {length} tokens.",
        )
        run.forward(1)
        again = run.kept()
        require(
            again[-1:] == [length],
            f"{subject.name} went on with {again[-1:]} after it was cut back to {length} tokens.",
        )


def takes_back(subject: Subject) -> None:
    """What is cut back leaves no trace: what is kept later is what would be kept without it."""
    for before, more in ((1, 7), (6, 1), (6, 7)):
        changed, plain = _Run(subject), _Run(subject)
        for count in LENGTHS[:before]:
            changed.forward(count)
            plain.forward(count)
        length, changed.mark, changed.text = changed.length, TEXT_MARK, 1
        changed.forward(more)
        if not changed.slot.truncate(length):
            continue
        if changed.kept() != plain.kept():
            continue  # As `truncates` says.
        changed.length, changed.mark, changed.text = length, 0, 0
        for count in (1,) * (MAX_LENGTH // 2):
            changed.forward(count)
            plain.forward(count)
            require(
                changed.kept() == plain.kept(),
                f"{subject.name} keeps other rows after {more} tokens were forwarded and taken "
                "back; what it remembers of them goes with them, or `truncate` answers False.",
            )


def needs_declared(subject: Subject) -> None:
    """Of what a stage writes, a cache reads what its policy's `needs` name."""
    run = _Run(subject)
    for count in LENGTHS:
        run.forward(count)
    needs = names_needed(run.policy, PAIRS)
    require(
        not needs or isinstance(run.cache, Watches),
        f"{subject.name} needs {', '.join(needs)}, and its cache has no `observe(slots, seen)`.",
    )
    stolen = sorted(run.asked - set(needs))
    require(
        not stolen,
        f"{subject.name} asked for {', '.join(stolen)}, which it does not declare; say "
        f"`needs = ({stolen[0] if stolen else ''!r},)`.",
    )


def forks_apart(subject: Subject) -> None:
    """A fork has the same rows, and neither sees what the other writes."""
    run = _Run(subject)
    for count in LENGTHS[:4]:
        run.forward(count)
    other = _Run(subject, cache=run.cache, slot=run.slot.fork(), length=run.length)
    require(run.kept() == other.kept(), f"A fork of {subject.name} has other rows.")
    other.mark = TEXT_MARK
    other.forward(1)
    run.forward(1)
    require(
        run.kept()[-1] < other.mark <= other.kept()[-1],
        f"{subject.name} and a fork of it write to the same rows.",
    )
    alone, other.text = _Run(subject), 1
    for count in (*LENGTHS[:4], 1):
        alone.forward(count)
    alone.cache.lease()  # As many slots are in use, which is another check's affair.
    for _ in range(MAX_LENGTH // 2):
        for one in (other, run, alone):
            one.forward(1)
        require(
            run.kept() == alone.kept(),
            f"{subject.name} keeps other rows once a fork of it goes on; what it remembers of a "
            "sequence is copied with it.",
        )


def closes_cleanly(subject: Subject) -> None:
    """A slot may be closed twice, and who comes after it sees nothing of it."""
    run = _Run(subject)
    for count in LENGTHS[:3]:
        run.forward(count)
    try:
        run.slot.close()
        run.slot.close()
    except Exception as error:
        raise AssertionError(f"{subject.name}: closing a slot twice raised {error!r}.") from error
    later = _Run(subject, cache=run.cache)
    later.forward(2)
    require(
        set(later.kept()) <= {0, 1},
        f"{subject.name} leased a slot with rows of the tokens {later.kept()[:4]} after two of "
        "its own were written.",
    )


def row_isolation(subject: Subject) -> None:
    """What a slot keeps does not depend on another slot in use."""
    alone = _Run(subject)
    for count in LENGTHS:
        alone.forward(count)
    runs = [_Run(subject)]
    runs.append(_Run(subject, cache=runs[0].cache))
    runs[1].mark = TEXT_MARK
    for count in LENGTHS:
        for run in runs:
            run.forward(count)
    mine, other = (run.kept() for run in runs)
    apart = mine == alone.kept() and other == [token + TEXT_MARK for token in mine]
    require(apart, f"{subject.name} keeps other rows while a second slot is in use.")


def exact_is_true(subject: Subject) -> None:
    """`exact` says that splits do not matter; then every token is kept."""
    policy = subject.make()
    if not policy.exact:
        return
    run = _Run(subject)
    for count in LENGTHS:
        run.forward(count)
        seen = run.seen()
        require(
            seen == list(range(run.length)),
            f"{subject.name} says exact, and a token saw {len(seen)} of {run.length} tokens.",
        )


def neutral_is_identity(subject: Subject) -> None:
    """With the settings that it calls neutral, every token is kept."""
    run = _Run(subject, policy=subject.make_neutral())
    for count in LENGTHS:
        run.forward(count)
    require(
        run.kept() == list(range(run.length)),
        f"{subject.name} calls {dict(subject.neutral or {})} neutral, and keeps "
        f"{len(run.kept())} of {run.length} tokens.",
    )


def _pair(layer: int, part: str) -> CachePair:
    axes = ("B", HEADS, "max_len", SIZE)
    past = Port(f"past_key_values.{layer}.{part}", "float32", axes)
    return CachePair(past, Port(f"present.{layer}.{part}", "float32", axes), layer, part)


PAIRS = tuple(_pair(layer, part) for layer in range(LAYERS) for part in ("key", "value"))


class _Run:
    """One sequence whose decoder writes each token's index, plus `mark`, into its row.

    What tokens attend to depends on `text`.
    """

    def __init__(
        self,
        subject: Subject,
        *,
        cache: Any = None,
        slot: Any = None,
        length: int = 0,
        policy: Any = None,
    ) -> None:
        self.name = subject.name
        self.mark = self.text = 0
        self.length = length
        self.policy = policy = subject.make() if policy is None else policy
        self.asked: set[str] = set()
        if cache is None:
            cache = policy.make(PAIRS, MAX_LENGTH, _zeros)
            if isinstance(cache, Pool):
                cache.lay_out(4)
        self.cache = cache
        self.slot = cache.lease() if slot is None else slot
        self._seen: list[int] = []

    def forward(self, count: int) -> Any:
        """Write so many tokens; the binding that they were written through."""
        while count > self.slot.room:
            room = self.slot.room
            require(room >= 1, f"{self.name} has no room after {self.length} tokens.")
            self._forward(room)
            count -= room
        return self._forward(count)

    def kept(self) -> list[int]:
        """The tokens whose rows the next one would see."""
        binding = self.cache.bind([self.slot], [np.array([self.length])])
        return self._rows(binding, new=1)

    def seen(self) -> list[int]:
        """The tokens that the last one saw."""
        return self._seen

    def _forward(self, count: int) -> Any:
        index = np.arange(self.length, self.length + count)
        binding = self.cache.bind([self.slot], [index])
        row = binding.rows[0]
        total = self._total(binding)
        for past in binding.pasts.values():
            require(
                total <= past.shape[2],
                f"{self.name} bound {past.shape[2]} rows for {total} tokens.",
            )
            past[row, :, total - count : total] = (index + self.mark)[:, None]
        self._seen = self._rows(binding, new=0)
        if isinstance(self.cache, Watches) and (needs := names_needed(self.policy, PAIRS)):
            shown = {name: self._shown(name, index, total) for name in needs}
            self.cache.observe([self.slot], [_Shown(shown, self.asked)])
        self.cache.settle([self.slot])
        self.length += count
        return binding

    def _rows(self, binding: Any, *, new: int) -> list[int]:
        total = self._total(binding) - new
        pasts = [past[binding.rows[0], :, :total] for past in binding.pasts.values()]
        tokens: Array = pasts[0][0, :, 0]
        same = all((past == tokens[:, None]).all() for past in pasts)
        require(same, f"{self.name} moved some of a token's rows and not the others.")
        return [int(token) for token in tokens]

    def _shown(self, name: str, index: Array, total: int) -> Array:
        """Made-up values of what a policy needs, which depend on the tokens and nothing else.

        Attention is the same in all layers and heads, so that they keep the same rows.
        """
        if name in _OF_TOKENS:
            return np.asarray(index) % 3 - 1
        attends, count = name.startswith("attention"), len(index)
        seen = np.asarray(self._seen) % TEXT_MARK
        liked = np.random.Generator(np.random.PCG64(self.text)).random(MAX_LENGTH)[seen] ** 8
        rows = []
        for place, token in enumerate(index):
            random = np.random.Generator(np.random.PCG64([int(token), self.text]))
            row = random.random(total if attends else 8, np.float32)
            if attends:
                row *= liked * (np.arange(total) <= total - count + place)
                row /= row.sum()
            rows.append(row)
        shown: Array = np.stack(rows)
        return np.stack([shown] * QUERY_HEADS) if attends else shown

    def _total(self, binding: Any) -> int:
        return int(binding.ports["attention_mask"][binding.rows[0]].sum())


_OF_TOKENS = ("input_ids", "visual_index", "source", "next_position")
"""Ports of one whole number for each token."""


class _Shown(dict[str, Array]):
    """What a cache is shown. asked: gets the names that it asked for."""

    def __init__(self, shown: dict[str, Array], asked: set[str]) -> None:
        super().__init__(shown)
        self._asked = asked

    def __getitem__(self, name: str) -> Array:
        self._asked.add(name)
        return super().get(name, np.ones((1, 8), np.float32))

    def get(self, name: str, default: Any = None) -> Any:
        self._asked.add(name)
        return super().get(name, default)


def _zeros(shape: tuple[int, ...], dtype: str) -> Array:
    return np.zeros(shape, dtype)


CHECKS = (
    SETTINGS,
    Check("sound_binding", sound_binding),
    Check("never_empty", never_empty),
    Check("unique_ids", unique_ids),
    Check("truncates", truncates),
    Check("takes_back", takes_back),
    Check("forks_apart", forks_apart),
    Check("closes_cleanly", closes_cleanly),
    Check("row_isolation", row_isolation),
    Check("exact_is_true", exact_is_true),
    Check("needs_declared", needs_declared),
    Check("neutral_is_identity", neutral_is_identity, declares_neutral),
)
"""What a cache policy promises."""

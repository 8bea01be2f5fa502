"""A recording, read back."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from triptych.core.ports import Array
from triptych.core.system.file_version import unread_version
from triptych.recording.index import FORMAT, INDEX, Item, Pass, RecordingError, Tensor

Token = tuple[int, int]
"""The place of a token among those that were given, and its id: what is recorded of one place may
be of a draft that was dropped."""

_OPEN = 2
"""Files that are kept in memory: tensors are read in the order in which they were written."""


class Recording:
    """The passes and tensors of one answer.

    folder: where it lies. complete: whether the run came to its end. ports: those that were asked
    for; None: all that were written. Raises RecordingError for what is none.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.complete = False
        self.ports: list[str] | None = None
        self.passes: list[Pass] = []
        self.tensors: list[Tensor] = []
        self._files: dict[str, Mapping[str, Array]] = {}
        self._places: dict[tuple[Any, ...], dict[Token, tuple[Tensor, int, int]]] = {}
        for number, said in enumerate(self._lines()):
            self._take(number, said)

    def _lines(self) -> Iterator[dict[str, Any]]:
        file = self.folder / INDEX
        try:
            with file.open(encoding="utf-8") as lines:
                for number, line in enumerate(lines):
                    if not line.endswith("\n"):
                        return  # The run was killed while it wrote it.
                    try:
                        yield json.loads(line)
                    except ValueError as error:
                        raise RecordingError(
                            f"{file}:{number + 1}: is not JSON: {error}"
                        ) from error
        except OSError as error:
            raise RecordingError(
                f"{self.folder} is no recording: {INDEX} cannot be read ({error.strerror}); "
                "`triptych run --record DIR` writes one"
            ) from error

    def _take(self, number: int, said: dict[str, Any]) -> None:
        try:
            if number == 0:
                self._check_format(said)
                self.ports = said.get("ports")
            elif "tensor" in said:
                tensor = Tensor.of(said)
                if Path(tensor.file).name != tensor.file:
                    raise RecordingError(
                        f"{self.folder}: {tensor.file!r} is no file of this recording"
                    )
                self.tensors.append(tensor)
            elif "pass" in said:
                self.passes.append(Pass.of(said))
            else:
                self.complete = bool(said.get("complete"))
        except (KeyError, TypeError, AttributeError) as error:
            place = f"{self.folder / INDEX}:{number + 1}"
            raise RecordingError(f"{place}: is no line of an index: {error}") from error

    def _check_format(self, said: Mapping[str, Any]) -> None:
        fault = unread_version(said.get("format"), FORMAT)
        if fault is not None:
            raise RecordingError(f"{self.folder} {fault}")

    @cached_property
    def media(self) -> tuple[Item, ...]:
        """What entered, in the order of its placeholders."""
        return tuple(item for walk in self.passes if not walk.sequence for item in walk.media)

    @cached_property
    def port_names(self) -> list[str]:
        """The ports that it has something of, in the order in which they were written first."""
        return list(dict.fromkeys(tensor.port for tensor in self.tensors))

    @cached_property
    def tokens(self) -> frozenset[Token]:
        """Every token that was in a span."""
        return frozenset(
            token
            for walk in self.passes
            if walk.phase == "span"
            for token in zip(walk.source, walk.tokens, strict=True)
        )

    def writers(self, port: str) -> list[str]:
        """Who wrote a port, in their order."""
        return self._writers.get(port, [])

    def array(self, tensor: Tensor) -> Array:
        """What was written. Raises RecordingError for a file that is missing or damaged."""
        return self._file(tensor.file)[tensor.name]

    def of(self, walk: Pass, writer: str) -> dict[str, Tensor]:
        """What `writer` wrote in a pass, by port."""
        return self._by_pass.get((walk.number, writer), {})

    @cached_property
    def sequences(self) -> frozenset[int]:
        """The numbers of the answer's sequences."""
        return frozenset(walk.sequence for walk in self.passes)

    def same_pass(
        self,
        phase: str,
        tokens: Sequence[int],
        source: Sequence[int],
        digests: Sequence[str] = (),
        *,
        sequence: int | None = None,
    ) -> Pass | None:
        """The last pass of these tokens, of media of these digests where they enter.

        sequence: in this one alone; None: in any.
        """
        key = phase, tuple(tokens), tuple(source)
        for walk in reversed(self._by_tokens.get(key, ())):
            same = sequence is None or walk.sequence == sequence
            if same and [item.digest for item in walk.media] == list(digests):
                return walk
        return None

    def passes_like(self, walk: Pass) -> list[Pass]:
        """The passes of the same tokens, in the same sequence and phase, in their order."""
        every = self._by_tokens.get((walk.phase, walk.tokens, walk.source), ())
        return [one for one in every if one.sequence == walk.sequence]

    def gathered(
        self,
        phase: str,
        writer: str,
        port: str,
        wanted: Sequence[Token],
        *,
        sequence: int | None = None,
    ) -> Array | None:
        """A port of tokens, or of wanted rows, whatever passes they were in.

        sequence: of this one alone; None: of any. The result is None where one of the tokens was
        not written, or the port has none of the axes S and R.
        """
        rows = self._rows(phase, writer, port, sequence)
        if not wanted or not all(token in rows for token in wanted):
            return None
        axis = next(iter(rows.values()))[2]
        parts = []
        for token in wanted:
            tensor, place, _ = rows[token]
            parts.append(self.array(tensor).take([place], axis))
        return np.concatenate(parts, axis)

    def _rows(
        self, phase: str, writer: str, port: str, sequence: int | None
    ) -> dict[Token, tuple[Tensor, int, int]]:
        """For each token, the last tensor that has it, its place there, and along which axis."""
        key = phase, writer, port, sequence
        if key not in self._places:
            found: dict[Token, tuple[Tensor, int, int]] = {}
            for tensor in self.tensors:
                walk = self._passes[tensor.number]
                axis = "R" if "R" in tensor.axes else "S"
                same = (walk.phase, tensor.writer, tensor.port) == key[:3]
                if not same or sequence not in (None, walk.sequence) or axis not in tensor.axes:
                    continue
                tokens = list(zip(source_of(tensor, walk), tokens_of(tensor, walk), strict=True))
                if axis == "R":
                    tokens = [tokens[row] for row in tensor.rows or ()]
                along = tensor.axes.index(axis)
                found.update({token: (tensor, at, along) for at, token in enumerate(tokens)})
            self._places[key] = found
        return self._places[key]

    @cached_property
    def _writers(self) -> dict[str, list[str]]:
        found: dict[str, dict[str, None]] = {}
        for tensor in self.tensors:
            found.setdefault(tensor.port, {})[tensor.writer] = None
        return {port: list(writers) for port, writers in found.items()}

    @cached_property
    def _passes(self) -> dict[int, Pass]:
        return {walk.number: walk for walk in self.passes}

    @cached_property
    def _by_pass(self) -> dict[tuple[int, str], dict[str, Tensor]]:
        found: dict[tuple[int, str], dict[str, Tensor]] = {}
        for tensor in self.tensors:
            found.setdefault((tensor.number, tensor.writer), {})[tensor.port] = tensor
        return found

    @cached_property
    def _by_tokens(self) -> dict[tuple[str, tuple[int, ...], tuple[int, ...]], list[Pass]]:
        found: dict[tuple[str, tuple[int, ...], tuple[int, ...]], list[Pass]] = {}
        for walk in self.passes:
            found.setdefault((walk.phase, walk.tokens, walk.source), []).append(walk)
        return found

    def _file(self, name: str) -> Mapping[str, Array]:
        if name not in self._files:
            from safetensors import SafetensorError
            from safetensors.numpy import load_file

            try:
                loaded = load_file(self.folder / name)
            except (OSError, SafetensorError) as error:
                raise RecordingError(f"{self.folder / name} cannot be read: {error}") from error
            while len(self._files) >= _OPEN:
                self._files.pop(next(iter(self._files)))
            self._files[name] = loaded
        return self._files[name]


def tokens_of(tensor: Tensor, walk: Pass) -> tuple[int, ...]:
    """The ids that a tensor has rows of."""
    return walk.tokens if tensor.tokens is None else tensor.tokens


def source_of(tensor: Tensor, walk: Pass) -> tuple[int, ...]:
    """The places of those."""
    return walk.source if tensor.source is None else tensor.source

"""An answer, made again from its manifest; and what is another now."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePath
from typing import Any

from ruamel.yaml import YAML

from triptych.core.components.catalog import Catalog
from triptych.core.config.digests import digests_of
from triptych.core.config.load import load_spec
from triptych.core.config.resolved import resolved
from triptych.core.config.spec import PipelineSpec
from triptych.core.pipeline import Pipeline
from triptych.core.reply import Reply
from triptych.core.request import Request
from triptych.recording import manifest as now
from triptych.recording.index import RecordingError
from triptych.recording.manifest import Manifest
from triptych.recording.media import Finder

_DIGITS = 12
"""Of a digest, in a message."""

_LISTS = ("stages", "sampler")
"""Keys of a pipeline under which items stand in an order."""

_SPEED = ("session.preload", "session.graph_cache")
"""Settings that no answer depends on."""


@dataclass(frozen=True)
class FirstDifference:
    """Where an answer leaves the recorded one. None: that answer has ended there."""

    place: int
    recorded: int | None
    now: int | None

    def __str__(self) -> str:
        said = [
            "the end" if token is None else f"token {token}" for token in (self.recorded, self.now)
        ]
        return f"new token {self.place + 1} is {said[1]}, and was {said[0]}"


class Again:
    """What a manifest asks for. Raises RecordingError where it cannot be asked again.

    source: a manifest, or the folder of a recording.
    """

    def __init__(self, source: str | Path) -> None:
        self.manifest = Manifest.read(Path(source))
        said = self.manifest.said.get("request")
        if said is None:
            raise RecordingError(
                f"{self.manifest.path}: the answer was made of token ids, and not of a request; "
                "it cannot be made again"
            )
        finder = Finder(self.manifest.path.parent)
        self.request: Request = finder.request(said)
        self._media = finder

    @property
    def config(self) -> Mapping[str, Any]:
        """The resolved pipeline, as `load_spec` takes it."""
        loaded: Mapping[str, Any] = _read_yaml(self.manifest.said["pipeline"]["config"])
        return loaded

    @cached_property
    def settings(self) -> dict[str, Any]:
        """The settings of the call, with the seed that was drawn."""
        given = self.manifest.said.get("settings", {})
        settings = {name: value for name, value in given.items() if value is not None}
        return {**settings, "seed": self.manifest.said["seed"]}

    def check_files(self, spec: PipelineSpec) -> None:
        """Raises RecordingError for a file outside of the pipeline's root that was changed.

        Also for a picture or video outside of the recording's folder. A manifest may name any file;
        what lies outside is read only as it was recorded.
        """
        for path in self._media.elsewhere:
            raise RecordingError(
                f"{self.manifest.path} names {str(path)!r}, which is not the file that was "
                "recorded; give --allow-outside to look at it"
            )
        recorded: Mapping[str, str] = self.manifest.said["pipeline"]["digests"]
        for name, found in digests_of(spec).items():
            if found != recorded.get(name) and _is_outside(name):
                raise RecordingError(
                    f"{self.manifest.path} names {name!r}, which lies outside of the pipeline's "
                    f"folder and is not the file that was recorded; give --allow-outside to read it"
                )

    def differences(self, spec: PipelineSpec, stood_in: Sequence[str] = ()) -> list[str]:
        """What is not as it was, a line each: versions, the machine, files, settings, pictures.

        stood_in: who stands in for stages now, as `Observer.stood_in` says it.
        """
        said = self.manifest.said
        lines = [
            *_changed(said["versions"], now.versions(spec), "{name} was {was}, and is {now}"),
            *_changed(
                said["machine"], now.machine(spec), "the machine's {name} was {was}, and is {now}"
            ),
            *_changed(
                _settings(self.config),
                _settings(_read_yaml(resolved(spec, digests=False))),
                "the pipeline's {name} was {was}, and is {now}",
            ),
        ]
        before = said.get("stood_in", [])
        lines += [f"stages were stood in for by {one}" for one in before if one not in stood_in]
        lines += [f"{one} stands in for stages" for one in stood_in if one not in before]
        for name, was, found in self._files(spec):
            if found is None:
                lines.append(f"{name} is not read any more")
            elif was is None:
                lines.append(f"{name} was not read")
            elif was != found:
                lines.append(
                    f"{name} has changed: its sha256 is {found[:_DIGITS]}..., and was "
                    f"{was[:_DIGITS]}..."
                )
        return lines + self._media.changed

    def first_difference(self, reply: Reply) -> FirstDifference | None:
        """Where the tokens leave the recorded ones; None where they are the same."""
        recorded, found = self.manifest.said["reply"]["tokens"], list(reply.tokens)
        for place in range(max(len(recorded), len(found))):
            here = recorded[place] if place < len(recorded) else None
            there = found[place] if place < len(found) else None
            if here != there:
                return FirstDifference(place, here, there)
        return None

    @property
    def plugins(self) -> Mapping[str, str]:
        """Plugin files that the answer needs, by path, with their digests."""
        found: Mapping[str, str] = self.manifest.said["pipeline"].get("plugins", {})
        return found

    def _files(self, spec: PipelineSpec) -> Iterator[tuple[str, str | None, str | None]]:
        """Each file with its digest then and now."""
        pipeline = self.manifest.said["pipeline"]
        was = {**pipeline["digests"], **self.plugins}
        found = {**digests_of(spec), **now.plugins(spec)}
        for name in dict.fromkeys([*was, *found]):
            yield name, was.get(name), found.get(name)


@dataclass(frozen=True)
class Reproduction:
    """An answer that was made again. differences: what is not as it was, a line each.

    first_difference: where its tokens leave the recorded ones; None: they are the same.
    """

    reply: Reply
    differences: tuple[str, ...]
    first_difference: FirstDifference | None


def reproduce(
    source: str | Path, *, plugins: Sequence[str | Path] = (), allow_outside: bool = False
) -> Reproduction:
    """Make a recorded answer again.

    source: a manifest, or the folder of a recording. plugins: files as in `triptych.load`.
    allow_outside: read files outside of the pipeline's folder, though they were changed.
    Raises RecordingError, and what loading and asking raise.
    """
    again = Again(source)
    catalog = Catalog([Path(plugin) for plugin in plugins])
    spec = load_spec(again.config, catalog=catalog, allow_outside=True)
    if not allow_outside:
        again.check_files(spec)
    reply = Pipeline(spec).generate(again.request, **again.settings)
    return Reproduction(reply, tuple(again.differences(spec)), again.first_difference(reply))


def _changed(was: Mapping[str, Any], found: Mapping[str, Any], text: str) -> Iterator[str]:
    for name in dict.fromkeys([*was, *found]):
        if was.get(name) != found.get(name):
            yield text.format(
                name=name, was=was.get(name, "not there"), now=found.get(name, "not there")
            )


def _settings(config: Any) -> dict[str, Any]:
    """Settings by dotted path, but for those of speed."""
    return {name: value for name, value in _flat(config).items() if name not in _SPEED}


def _flat(value: Any, path: str = "") -> dict[str, Any]:
    if path in _LISTS and isinstance(value, list):
        named = [_named(item) for item in value]
        found: dict[str, Any] = {path: ", ".join(title for title, _, _ in named)}
        for _, label, settings in named:
            found |= _flat(settings, f"{path}.{label}")
        return found
    if not isinstance(value, Mapping):
        return {path: value}
    found = {}
    for key, item in value.items():
        found |= _flat(item, f"{path}.{key}" if path else str(key))
    return found


def _named(item: Any) -> tuple[str, str, Mapping[str, Any]]:
    """An item of a list: what stands for it there, its label, and what else it says."""
    if not isinstance(item, Mapping):
        return str(item), str(item), {}
    name, settings = next(iter(item.items()))
    label = str(item.get("as", name))
    siblings = {key: value for key, value in item.items() if key not in (name, "as")}
    own = settings if isinstance(settings, Mapping) else {}
    return name if label == name else f"{name} as {label}", label, {**own, **siblings}


def _is_outside(name: str) -> bool:
    path = PurePath(name)
    return path.is_absolute() or ".." in path.parts


def _read_yaml(text: str) -> Any:
    return YAML(typ="safe", pure=True).load(text)

"""What several pipelines of one process have in common: open graphs, and what images became."""

from __future__ import annotations

import hashlib
import threading
from collections import defaultdict
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from triptych.core.config.digests import files_of
from triptych.core.config.resolved import plain
from triptych.core.graphs.files import GraphFiles
from triptych.core.graphs.session import open_session
from triptych.core.ports import Array
from triptych.core.sequences.feature_cache import DEFAULT_BYTES, FeatureCache
from triptych.core.stages import Runtime
from triptych.core.system.kept_files import version_of

if TYPE_CHECKING:
    from triptych.core.assembly.assembly import Assembly


class Shared:
    """Given to each of several pipelines that one thread uses, so that none does another's work.

    A graph of the same file and the same options is opened once, as long as somebody has it. What
    stages make of media is kept by what the stage is, not by what a pipeline calls it.

    feature_bytes: what is kept of media at the most.
    """

    def __init__(self, feature_bytes: int = DEFAULT_BYTES) -> None:
        self._features = FeatureCache(feature_bytes)
        self._sessions: WeakValueDictionary[object, Any] = WeakValueDictionary()
        self._opening: defaultdict[object, threading.Lock] = defaultdict(threading.Lock)
        self._lock = threading.Lock()

    def features(self, assembly: Assembly) -> FeatureCache:
        """What a pipeline knows of media: all that others with the same stages found out.

        A pipeline that keeps none of it has nothing in common with others.
        """
        if not assembly.spec.session.feature_cache:
            return FeatureCache(0)
        return _NamedFeatures(self._features, _fingerprints(assembly))

    def session(self, files: GraphFiles, runtime: Runtime, *, without: Collection[str]) -> Any:
        """`open_session`, or the session that another pipeline has opened so."""
        key = (tuple(map(_state, files.all())), repr(runtime), frozenset(without))
        with self._lock:
            # Other graphs are opened at the same time.
            opening = self._opening[key]
        with opening:
            session = self._sessions.get(key)
            if session is None:
                session = open_session(files, runtime, without=without)
                self._sessions[key] = session
        return session


class _NamedFeatures(FeatureCache):
    """Another cache, in which each stage has the name that tells what it is."""

    def __init__(self, cache: FeatureCache, names: Mapping[str, str]) -> None:
        super().__init__(cache.max_bytes)
        self._cache = cache
        self._names = names

    def get(self, label: str, digest: str) -> Mapping[str, Array] | None:
        """See `FeatureCache.get`."""
        return self._cache.get(self._names[label], digest)

    def put(self, label: str, digest: str, ports: Mapping[str, Array]) -> None:
        """See `FeatureCache.put`."""
        self._cache.put(self._names[label], digest, ports)


def _fingerprints(assembly: Assembly) -> dict[str, str]:
    """What decides the results of each stage that reads only media, by the stage's label.

    That are its item and files, those of such stages before it, and how graphs are run. The media's
    own digests tell of the processor.
    """
    spec = assembly.spec
    parts = {part.label: part for part in spec.stages}
    hasher = hashlib.sha256(repr((spec.paths.root, spec.session.providers)).encode())
    hasher.update(repr(spec.session.threads).encode())
    names = {}
    for wired in assembly.wiring.stages:
        if wired.per_media:
            part = parts[wired.label]
            states = [_state(file) for file in files_of(part)]
            item = (part.name, plain(part.settings, spec.paths), part.ports, part.ignore, states)
            hasher.update(repr(item).encode())
            names[wired.label] = hasher.hexdigest()
    return names


def _state(path: Path) -> tuple[str | int, ...]:
    """A file and its version."""
    return str(path.resolve()), *version_of(path.stat())

"""What can be used, under which name, and where it comes from.

A bare name is built in and never reads anybody's metadata. ``acme/min_p`` loads the one
entry point ``acme`` of the group ``triptych``; ``local/NAME`` comes from ``--plugin`` files.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path

from triptych.core.components import installed, plugin_file
from triptych.core.components.component import KINDS, Kind
from triptych.core.components.entry import LOCAL, Entry, Origin, PluginFault
from triptych.core.components.manifest import Manifest
from triptych.core.errors import TriptychError
from triptych.core.messages import explained, nearest

BUILT_IN: dict[Kind, tuple[str, ...]] = {
    "processors": ("triptych.plugins.processors.manifest",),
    "stages": (
        "triptych.plugins.vision_encoder.manifest",
        "triptych.plugins.positions.manifest",
        "triptych.plugins.reducers.manifest",
        "triptych.plugins.embeddings.manifest",
        "triptych.plugins.decoder.manifest",
        "triptych.plugins.onnx.manifest",
        "triptych.plugins.features.manifest",
        "triptych.export.torch_vision.manifest",
    ),
    "samplers": ("triptych.plugins.samplers.manifest",),
    "strategies": ("triptych.plugins.strategies.manifest",),
    "caches": ("triptych.plugins.caches.manifest",),
    "exporters": (
        "triptych.export.qwen2_vl.manifest",
        "triptych.export.qwen3_vl.manifest",
        "triptych.export.qwen3_vl_moe.manifest",
        "triptych.export.idefics3.manifest",
        "triptych.export.text.manifest",
    ),
    "datasets": (
        "triptych.plugins.datasets.manifest",
        "triptych.models.sketch.manifest",
    ),
    "metrics": ("triptych.plugins.metrics.manifest",),
}
"""The manifests of what ships with Triptych, by the kind they offer."""

SINGULAR: dict[Kind, str] = {
    "processors": "processor",
    "stages": "stage",
    "samplers": "sampler",
    "strategies": "strategy",
    "caches": "cache",
    "exporters": "exporter",
    "datasets": "dataset",
    "metrics": "metric",
}
"""What one component of a kind is called in a message."""


class UnknownComponent(TriptychError):
    """A name that nothing offers.

    name, kind: what was asked for. cause: the message without what follows. nearest: what was
    probably meant, or None. known: the names there are (the installed plugins, when the owner is
    the unknown part). hint: the remedy, where a name is not it.
    """

    def __init__(
        self,
        name: str,
        kind: Kind,
        cause: str,
        *,
        known: Sequence[str] = (),
        nearest: str | None = None,
        hint: str | None = None,
    ) -> None:
        self.name = name
        self.kind = kind
        self.cause = cause
        self.known = tuple(known)
        self.nearest = nearest
        self.hint = hint
        super().__init__(explained(cause, nearest=nearest, known=self.known, hint=hint))


class Catalog:
    """Finds components by kind and name, and imports no more than that needs.

    plugins: files given with ``--plugin``; what they list is offered as ``local/NAME``.
    """

    def __init__(self, plugins: Sequence[Path] = ()) -> None:
        self._files = tuple(Path(plugin) for plugin in plugins)
        self._manifests: dict[str | Path, Manifest] = {}
        self._own: dict[Kind, list[Entry]] = {}

    @property
    def files(self) -> tuple[Path, ...]:
        """The ``--plugin`` files."""
        return self._files

    def missing(self) -> Path | None:
        """The first of the ``--plugin`` files that is not there."""
        return next((file for file in self._files if not file.is_file()), None)

    def find(self, kind: Kind, name: str) -> Entry:
        """The component of that kind and name.

        Raises UnknownComponent, or PluginFault when the plugin that owns the name is broken.
        """
        owner, slash, _ = name.partition("/")
        if not slash:
            offered = self._built_in(kind)
        elif owner == LOCAL:
            offered = self._local_offers(kind, name)
        else:
            offered = self._owner(kind, name).entries(kind)
        for entry in offered:
            if entry.full_name == name:
                return entry
        raise self._unknown(kind, name, [entry.full_name for entry in offered])

    def names(self, kind: Kind) -> list[str]:
        """The full names that need no installed plugin: built in, then from ``--plugin`` files."""
        local, _ = self._local(kind)
        return [entry.full_name for entry in (*self._built_in(kind), *local)]

    def everything(self) -> tuple[list[Entry], list[PluginFault]]:
        """All that is built in, given or installed, and the faults of what is broken.

        Every plugin, and every class of a third party, is loaded in its own try. The built-in
        classes are not loaded.
        """
        entries = [entry for kind in KINDS for entry in self._built_in(kind)]
        faults: list[PluginFault] = []
        for manifest in self._third_parties(faults):
            for kind in KINDS:
                try:
                    offered = manifest.entries(kind)
                except PluginFault as fault:
                    faults.append(fault)
                    continue
                for entry in offered:
                    try:
                        entry.load()
                        entries.append(entry)
                    except PluginFault as fault:
                        faults.append(fault)
        return entries, faults

    def _built_in(self, kind: Kind) -> list[Entry]:
        """The built-in components of a kind, through the same hooks as everybody's."""
        if kind in self._own:
            return self._own[kind]
        found: list[Entry] = []
        for module in BUILT_IN[kind]:
            if module not in self._manifests:
                self._manifests[module] = Manifest(import_module(module), Origin())
            found += self._manifests[module].entries(kind)
        self._own[kind] = sorted(found, key=lambda entry: entry.full_name)
        return self._own[kind]

    def _local_offers(self, kind: Kind, name: str) -> list[Entry]:
        """What the files offer, if `name` is among it once, or all files could be read."""
        if not self._files:
            raise UnknownComponent(
                name,
                kind,
                f"there is no {SINGULAR[kind]} {name!r}: no plugin file was given",
                hint="give one with --plugin FILE (plugins=[FILE])",
            )
        offered, faults = self._local(kind)
        same = [entry for entry in offered if entry.full_name == name]
        if len(same) > 1:
            files = " and ".join(str(entry.origin.file) for entry in same)
            raise PluginFault(
                f"cannot be used: {files} both offer it; rename one",
                origin=Origin(LOCAL),
                component=name,
            )
        if faults and not same:
            raise faults[0]
        return offered

    def _local(self, kind: Kind) -> tuple[list[Entry], list[PluginFault]]:
        """What the ``--plugin`` files offer of a kind, and what is wrong with them."""
        offered: list[Entry] = []
        faults: list[PluginFault] = []
        for file in self._files:
            try:
                offered += self._file(file).entries(kind)
            except PluginFault as fault:
                faults.append(fault)
        return offered, faults

    def _file(self, file: Path) -> Manifest:
        if file not in self._manifests:
            self._manifests[file] = plugin_file.read(file)
        return self._manifests[file]

    def _owner(self, kind: Kind, name: str) -> Manifest:
        """The plugin that owns `name`; no other plugin is imported."""
        owner, _, short = name.partition("/")
        if owner not in self._manifests:
            claims, faults = installed.claims()
            rivals = [claim for claim in claims if claim.owner == owner]
            if not rivals:
                owners = sorted({claim.owner for claim in claims} - {LOCAL})
                near = _nearest(owner, owners)
                raise UnknownComponent(
                    name,
                    kind,
                    f"no installed plugin is called {owner!r}, which {name!r} needs",
                    known=owners,
                    nearest=near and f"{near}/{short}",
                    hint="; ".join(["install the package that offers it", *map(str, faults)]),
                )
            self._manifests[owner] = installed.read(rivals)
        return self._manifests[owner]

    def _third_parties(self, faults: list[PluginFault]) -> Iterator[Manifest]:
        """Every given and installed plugin that can be read; the others go to `faults`."""
        for file in self._files:
            try:
                yield self._file(file)
            except PluginFault as fault:
                faults.append(fault)
        claims, unread = installed.claims()
        faults += unread
        for owner in sorted({claim.owner for claim in claims}):
            try:
                yield installed.read([claim for claim in claims if claim.owner == owner])
            except PluginFault as fault:
                faults.append(fault)

    def _unknown(self, kind: Kind, name: str, known: list[str]) -> UnknownComponent:
        """The error for a name that its owner, or Triptych itself, does not offer."""
        owner, slash, _ = name.partition("/")
        if not slash:
            known = self.names(kind)
        cause = f"there is no {SINGULAR[kind]} {name!r}"
        elsewhere = [k for k in KINDS if not slash and name in self.names(k)]
        if elsewhere:
            cause += f"; {name!r} is a {SINGULAR[elsewhere[0]]}"
        elif slash and not known:
            cause += f": plugin {owner!r} offers no {kind}"
        return UnknownComponent(name, kind, cause, known=known, nearest=_nearest(name, known))


def _nearest(name: str, known: Sequence[str]) -> str | None:
    """The likeliest of the known names; a short name also matches one with an owner."""
    by_short = {full.rpartition("/")[2]: full for full in known}
    return nearest(name, known) or by_short.get(nearest(name, by_short) or "")

"""A pipeline file, read and checked: nothing of its weights is touched."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from triptych.core.components.catalog import Catalog
from triptych.core.config.build import Builder
from triptych.core.config.chain import SamplingFlags, Spoken, apply_flags, chain_of
from triptych.core.config.digests import check_digests
from triptych.core.config.edits import Draft, Edits, Insert, Overrides, Replace
from triptych.core.config.form import check_form, read_form
from triptych.core.config.items import RESERVED, parse_item, parse_items
from triptych.core.config.locate import BUILT_IN, builtin, locate, unfiled_folder
from triptych.core.config.nodes import Node, node_of, shown
from triptych.core.config.orders import parse_chain
from triptych.core.config.sections import SessionSettings, StopSettings
from triptych.core.config.settings import Settings
from triptych.core.config.spec import NO_FLAGS, PipelineSpec
from triptych.core.config_error import ConfigError, Where, unknown
from triptych.core.paths import Paths

if TYPE_CHECKING:
    from triptych.core.layouts.recognise import Recognised

FORMAT = 1
"""The version of the pipeline file that this release reads."""

WHAT = "a pipeline"
"""What such a file says."""

DEFAULT_SAMPLER = [{"temperature": 0.7}, {"top_k": 50}, {"top_p": 0.9}, "draw"]
DEFAULT_STRATEGY = "autoregressive"

S = TypeVar("S", bound=Settings)


class _Switches(Settings):
    """The top-level keys that are neither items nor sections."""

    approximate: bool = False


def load_spec(  # noqa: PLR0913  # one keyword per flag that changes a pipeline
    source: str | PathLike[str] | Mapping[str, Any],
    *,
    catalog: Catalog,
    overrides: Overrides = (),
    insert: Insert | Iterable[Insert] = (),
    replace: Replace | Iterable[Replace] = (),
    remove: str | Iterable[str | Node] = (),
    flags: SamplingFlags = NO_FLAGS,
    allow_outside: bool = False,
    spoken: Spoken = "keywords",
) -> PipelineSpec:
    """The pipeline that a file and its changes describe.

    source: a folder with a ``pipeline.yaml``, a YAML file, the name of a built-in model, a folder
    of graphs that another tool made, or a mapping of what a file would hold (its paths start at
    the working directory).
    overrides, insert, replace, remove: see `Edits`; flags are applied after them.
    allow_outside: read files outside of the pipeline's folder.
    spoken: whether messages about changes speak of flags or of keywords.
    Raises ConfigError.
    """
    absent = catalog.missing()
    if absent is not None:
        given = f"--plugin {absent}" if spoken == "flags" else f"plugins=[{str(absent)!r}]"
        raise ConfigError(Where(given), "there is no such file")
    warnings: tuple[str, ...] = ()
    file: Path | None
    if isinstance(source, Mapping):
        file, here = None, Path.cwd()
        name = "pipeline"
        top = check_form(node_of(source, Where(name)), name, WHAT, FORMAT)
    elif (folder := unfiled_folder(source)) is not None and (found := _recognised(folder)):
        from triptych.core.config.reader import read_yaml

        file, here, warnings = folder, folder.absolute(), found.warnings
        name = f"{folder} (as triptych import writes it)"
        top = check_form(read_yaml(found.text, name), name, WHAT, FORMAT)
    else:
        file = locate(source)
        here, name = file.absolute().parent, str(file)
        top = read_form(file, WHAT, FORMAT)
    _check_keys(top)
    paths = Paths(_root(top, here, allow_outside=allow_outside), here, allow_outside)
    if "digests" in (top.items or {}):
        check_digests(top.child("digests"), paths)
    builder = Builder(catalog, paths)
    draft = _draft(top)
    Edits(remove, replace, insert, overrides, spoken).apply(draft, builder)
    draft.sampler = apply_flags(draft.sampler, flags, builder)
    switches = Node({"approximate": draft.approximate}, Where(name))
    section = top.child("sampler").where if "sampler" in (top.items or {}) else top.where
    section = draft.places.get("sampler", section)
    if not draft.stages:
        place = draft.places.get("stages", _under(top, "stages"))
        raise ConfigError(place, "a pipeline has at least one stage")
    return PipelineSpec(
        source=file,
        paths=paths,
        processor=builder.part(draft.processor, "processors"),
        stages=tuple(builder.part(item, "stages") for item in draft.stages),
        sampler=chain_of(draft.sampler, section, builder),
        strategy=builder.part(draft.strategy, "strategies"),
        stop=_section(StopSettings, draft.stop, builder),
        session=_section(SessionSettings, draft.session, builder),
        approximate=builder.settings(_Switches, switches).approximate,
        _builder=builder,
        _chain=draft.sampler,
        _places=dict([*top.walk(), *draft.stop.walk(), *draft.session.walk()]),
        warnings=warnings,
    )


def _recognised(folder: Path) -> Recognised | None:
    """The pipeline that another tool's folder makes, if it is one. Most starts need none of it."""
    from triptych.core.layouts.recognise import holds_graphs, recognise

    return recognise(folder) if holds_graphs(folder) else None


def _check_keys(top: Node) -> None:
    """Raises ConfigError for a key that is unknown, or missing."""
    items = top.items or {}
    for key in items:
        if key not in RESERVED:
            raise unknown(top.key(key), f"there is no key {key!r}", key, RESERVED)
    for key in ("processor", "stages"):
        if key not in items or items[key].value is None:
            raise ConfigError(_under(top, key), "this key must be given")


def _root(top: Node, here: Path, *, allow_outside: bool) -> Path:
    """The folder that relative paths start at."""
    if "root" not in (top.items or {}):
        return here
    node = top.child("root")
    text = node.value
    if not isinstance(text, str) or not text:
        raise ConfigError(node.where, f"{shown(text)} is not a folder")
    if text in BUILT_IN:
        return builtin(text)
    try:
        root = Paths(root=here, here=here, allow_outside=allow_outside).resolve(text)
    except ValueError as error:
        context = getattr(error, "context", None) or {}
        hint, near = context.get("hint"), context.get("nearest")
        raise ConfigError(node.where, str(error), hint=hint, nearest=near) from None
    if not root.is_dir():
        raise ConfigError(node.where, f"{text!r} is not a folder")
    return root


def _draft(top: Node) -> Draft:
    items = top.items or {}
    unsaid = Where(top.where.source)
    strategy = items.get("strategy")
    return Draft(
        processor=parse_item(top.child("processor"), "processors", unsaid, label="processor"),
        stages=parse_items(top.child("stages"), "stages"),
        sampler=parse_chain(
            top.child("sampler")
            if "sampler" in items
            else node_of(DEFAULT_SAMPLER, unsaid.under("sampler"))
        ),
        strategy=parse_item(
            node_of(DEFAULT_STRATEGY, unsaid) if strategy is None else top.child("strategy"),
            "strategies",
            unsaid,
            label="strategy",
        ),
        stop=_optional(top, "stop", {}),
        session=_optional(top, "session", {}),
        approximate=_optional(top, "approximate", _Switches().approximate),
    )


def _optional(top: Node, key: str, default: Any) -> Node:
    """The value under a key; the default where there is none, or nothing under it."""
    if key in (top.items or {}) and top.value[key].value is not None:
        return top.child(key)
    return Node(default, Where(top.where.source, path=key))


def _section(model: type[S], node: Node, builder: Builder) -> S:
    if node.items is None:
        raise ConfigError(node.where, f"{shown(node.value)} is not a mapping of settings")
    return builder.settings(model, node)


def _under(top: Node, key: str) -> Where:
    return top.key(key) if key in (top.items or {}) else top.where.under(key)

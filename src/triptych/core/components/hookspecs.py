"""Every hook that a plugin may implement: one per kind, no arguments, a list each."""

from __future__ import annotations

from collections.abc import Iterable

import pluggy

from triptych.core.components.component import Component

PROJECT = "triptych"
"""pluggy's project name, and the entry-point group."""

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def processors() -> Iterable[Component]:
    """Both ends of a pipeline: a request becomes a prompt, tokens become text."""
    raise NotImplementedError


@hookspec
def stages() -> Iterable[Component]:
    """Steps over named ports: encoders, positions, merges, decoders, reducers."""
    raise NotImplementedError


@hookspec
def samplers() -> Iterable[Component]:
    """Steps of the sampling chain: warps and choosers (say which in ``role``)."""
    raise NotImplementedError


@hookspec
def strategies() -> Iterable[Component]:
    """Generators that decide what is forwarded next and which tokens are kept."""
    raise NotImplementedError


@hookspec
def caches() -> Iterable[Component]:
    """Policies of what a stage's key/value cache keeps."""
    raise NotImplementedError


@hookspec
def exporters() -> Iterable[Component]:
    """Model families: a checkpoint folder becomes graphs and a pipeline file."""
    raise NotImplementedError


@hookspec
def datasets() -> Iterable[Component]:
    """Sources of questions with known answers."""
    raise NotImplementedError


@hookspec
def metrics() -> Iterable[Component]:
    """Scores of replies against known answers."""
    raise NotImplementedError

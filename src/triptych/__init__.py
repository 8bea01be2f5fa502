"""Triptych: three ONNX panels, hinged together by a core that knows none of them.

What a plugin's author or a script needs is offered here and imported on first use, so that
``import triptych`` costs next to nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from triptych import recording, testing
    from triptych.core.components.component import Component
    from triptych.core.components.hookspecs import hookimpl
    from triptych.core.config.settings import Settings
    from triptych.core.config_error import ConfigError
    from triptych.core.dataset import Dataset, Item
    from triptych.core.errors import InputError, PluginError, TriptychError
    from triptych.core.limited_dataset import LimitedDataset
    from triptych.core.metric import Answer, Base, Metric
    from triptych.core.observer import Moment, Observer
    from triptych.core.paths import FilePath
    from triptych.core.pipeline import Pipeline, load
    from triptych.core.ports import CachePair, Port, When
    from triptych.core.prompt import Media, Processor, Prompt
    from triptych.core.reply import Reply
    from triptych.core.request import Message, Request
    from triptych.core.sampling.candidates import Candidates
    from triptych.core.sampling.context import Context
    from triptych.core.sampling.steps import Choose, Warp
    from triptych.core.sampling.vocabulary import Vocabulary
    from triptych.core.spans import Generation, Span, Strategy
    from triptych.core.stages import Stage
    from triptych.core.wiring.needs import carried, carrying

__version__ = "0.1.0"

__all__ = [
    "Answer",
    "Base",
    "CachePair",
    "Candidates",
    "Choose",
    "Component",
    "ConfigError",
    "Context",
    "Dataset",
    "FilePath",
    "Generation",
    "InputError",
    "Item",
    "LimitedDataset",
    "Media",
    "Message",
    "Metric",
    "Moment",
    "Observer",
    "Pipeline",
    "PluginError",
    "Port",
    "Processor",
    "Prompt",
    "Reply",
    "Request",
    "Settings",
    "Span",
    "Stage",
    "Strategy",
    "TriptychError",
    "Vocabulary",
    "Warp",
    "When",
    "__version__",
    "carried",
    "carrying",
    "hookimpl",
    "load",
    "recording",
    "testing",
]

_HOMES = {
    "Answer": "metric",
    "Base": "metric",
    "CachePair": "ports",
    "Candidates": "sampling.candidates",
    "Choose": "sampling.steps",
    "Component": "components.component",
    "ConfigError": "config_error",
    "Context": "sampling.context",
    "Dataset": "dataset",
    "FilePath": "paths",
    "Generation": "spans",
    "InputError": "errors",
    "Item": "dataset",
    "LimitedDataset": "limited_dataset",
    "Media": "prompt",
    "Message": "request",
    "Moment": "observer",
    "Observer": "observer",
    "Metric": "metric",
    "Pipeline": "pipeline",
    "PluginError": "errors",
    "Port": "ports",
    "Processor": "prompt",
    "Prompt": "prompt",
    "Reply": "reply",
    "Request": "request",
    "Settings": "config.settings",
    "Span": "spans",
    "Stage": "stages",
    "Strategy": "spans",
    "TriptychError": "errors",
    "Vocabulary": "sampling.vocabulary",
    "Warp": "sampling.steps",
    "When": "ports",
    "carried": "wiring.needs",
    "carrying": "wiring.needs",
    "hookimpl": "components.hookspecs",
    "load": "pipeline",
}
"""The module of the core that each public name lives in."""


def __getattr__(name: str) -> Any:
    """Import a public name on first use (PEP 562)."""
    if name in ("recording", "testing"):
        return import_module(f"triptych.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module 'triptych' has no attribute {name!r}")
    value = getattr(import_module(f"triptych.core.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)

"""What the settings of every component promise."""

from __future__ import annotations

import io
import json
import warnings
from pathlib import Path

from pydantic import BaseModel
from ruamel.yaml import YAML

from triptych.core.components.catalog import Catalog
from triptych.core.config.build import Builder, nested_kind
from triptych.core.config.nodes import Node
from triptych.core.config.reader import read_yaml
from triptych.core.config.resolved import plain
from triptych.core.config.second import SecondPipeline
from triptych.core.config.settings import Settings
from triptych.core.config_error import Where
from triptych.core.paths import Paths
from triptych.testing.check import Check
from triptych.testing.require import require
from triptych.testing.subject import Subject


def settings_round_trip(subject: Subject) -> None:
    """Settings come back from YAML and from JSON as they were, and have a JSON Schema."""
    settings = subject.made_settings
    if settings is None:
        return
    _check_schema(subject, type(settings))
    _check_yaml(subject, settings)
    if not _has_parts(settings):
        _check_json(subject, settings)


def _check_schema(subject: Subject, model: type[BaseModel]) -> None:
    try:
        with warnings.catch_warnings():
            # A default that JSON has no form for is left out.
            warnings.simplefilter("ignore")
            schema = model.model_json_schema()
        json.dumps(schema)
    except Exception as error:
        raise AssertionError(f"{subject.name}.Settings has no JSON Schema: {error}") from error
    missing = model.model_fields.keys() - schema.get("properties", {}).keys()
    require(not missing, f"{subject.name}.Settings has no {', '.join(missing)} in its JSON Schema.")


def _check_yaml(subject: Subject, settings: Settings) -> None:
    here = Path.cwd()
    paths = Paths(root=here, here=here, allow_outside=True)
    stream = io.StringIO()
    text = ""
    try:
        YAML(typ="safe", pure=True).dump(plain(settings, paths), stream)
        text = stream.getvalue()
        node = read_yaml(text, "its YAML") or Node({}, Where("its YAML"))
        back = Builder(Catalog(), paths).settings(type(settings), node)
    except Exception as error:
        raise AssertionError(
            f"{subject.name}.Settings cannot be read back from its YAML {text!r}: {error}"
        ) from error
    require(
        plain(back, paths) == plain(settings, paths),
        f"{subject.name}.Settings became {back!r} through YAML.",
    )


def _check_json(subject: Subject, settings: Settings) -> None:
    try:
        text = settings.model_dump_json()
        back = type(settings).model_validate_json(text)
    except ValueError as error:
        raise AssertionError(
            f"{subject.name}.Settings cannot be read back from its JSON: {error}"
        ) from error
    require(back == settings, f"{subject.name}.Settings became {back!r} through JSON.")


def _has_parts(settings: Settings) -> bool:
    """Whether a setting is an item, a file or a pipeline, which JSON has no form for."""
    return any(
        nested_kind(type(settings), name)
        or isinstance(getattr(settings, name), SecondPipeline | Path)
        for name in type(settings).model_fields
    )


SETTINGS = Check("settings_round_trip", settings_round_trip)

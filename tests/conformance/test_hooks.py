"""Hooks, kinds, the reference and the built-in table agree with each other."""

import runpy
from inspect import getdoc, signature
from pathlib import Path
from typing import get_args

import pytest

from triptych.core.components import hookspecs
from triptych.core.components.catalog import BUILT_IN, SINGULAR, Catalog
from triptych.core.components.component import KINDS, Kind

REFERENCE = Path(__file__).parents[2] / "docs" / "reference.md"
HOOKS = [
    name for name, value in vars(hookspecs).items() if hasattr(value, f"{hookspecs.PROJECT}_spec")
]


def test_there_is_one_hook_per_kind():
    assert tuple(HOOKS) == KINDS == get_args(Kind)
    assert tuple(BUILT_IN) == tuple(SINGULAR) == KINDS


@pytest.mark.parametrize("hook", HOOKS)
def test_a_hook_has_no_arguments_and_a_docstring(hook):
    specification = getattr(hookspecs, hook)
    assert not signature(specification).parameters
    assert getdoc(specification)


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_is_in_the_reference_with_its_signature(hook):
    assert f"`{hook}() -> Iterable[Component]`" in REFERENCE.read_text(encoding="utf-8")


@pytest.mark.parametrize("hook", HOOKS)
def test_the_reference_lists_every_built_in_component(hook):
    assert f"<!-- components: {hook} -->" in REFERENCE.read_text(encoding="utf-8")
    components = runpy.run_path(str(REFERENCE.parent / "components.py"))
    page = components["on_page_markdown"](f"<!-- components: {hook} -->")
    for name in Catalog().names(hook):
        assert f"#### `{name}`" in page


def test_the_reference_lists_every_verb_and_flag():
    commands = runpy.run_path(str(REFERENCE.parent / "commands.py"))
    page = commands["on_page_markdown"](REFERENCE.read_text(encoding="utf-8"))
    for verb in ("run", "chat", "export", "verify", "check", "show", "plugins", "schema", "doctor"):
        assert f"### `triptych {verb}`" in page
    for flag in ("--no-sample", "--insert", "--seed", "--against"):
        assert f"`{flag}`" in page

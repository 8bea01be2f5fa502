"""What `import triptych` offers, and what it and `triptych --help` leave alone."""

import ast
import json
import subprocess
import sys
from importlib import import_module
from inspect import getdoc, isclass, isfunction
from pathlib import Path

import pytest

import triptych
from triptych.core.components.catalog import BUILT_IN

ROOT = Path(triptych.__file__).parent
HEAVY = {"numpy", "pydantic", "onnxruntime", "transformers", "torch", "PIL", "ruamel"}
MANIFESTS = sorted({module for modules in BUILT_IN.values() for module in modules})


def imported_by(*arguments):
    """The top-level packages that a fresh interpreter has loaded after running something."""
    listing = (
        "import atexit, json, sys; atexit.register(lambda: print(json.dumps(sorted("
        "{name for name in sys.modules if '.' not in name})), file=sys.__stderr__)); "
    )
    done = subprocess.run(
        [sys.executable, "-c", listing + arguments[0], *arguments[1:]],
        capture_output=True,
        text=True,
        check=True,
        stdin=subprocess.DEVNULL,
    )
    return set(json.loads(done.stderr.splitlines()[-1]))


def test_importing_triptych_imports_nothing_heavy():
    assert not HEAVY & imported_by("from triptych import Component, hookimpl")


@pytest.mark.parametrize("manifest", MANIFESTS)
def test_a_built_in_manifest_imports_nothing_heavy(manifest):
    assert not HEAVY & imported_by(f"import {manifest}")


def test_help_imports_nothing_heavy():
    script = (
        "import sys; sys.argv = ['triptych', '--help']; import triptych.cli.main as m; m.main()"
    )
    assert not HEAVY & imported_by(script)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'triptych' has no attribute 'nothing'"):
        _ = triptych.nothing


@pytest.mark.parametrize("name", triptych.__all__)
def test_every_public_name_is_there(name):
    assert getattr(triptych, name) is not None
    assert name in dir(triptych)


@pytest.mark.parametrize("name", sorted(set(triptych.__all__) - {"__version__", "Message"}))
def test_every_public_name_and_its_methods_have_a_docstring(name):
    public = getattr(triptych, name)
    assert getdoc(public)
    for key, member in vars(public).items() if isclass(public) else ():
        if isfunction(member) and not key.startswith("_"):
            assert getdoc(member), f"{name}.{key}"


def test_type_checkers_and_the_interpreter_see_the_same_names():
    tree = ast.parse((ROOT / "__init__.py").read_text(encoding="utf-8"))
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    seen = {alias.name: line.module for line in block.body for alias in line.names}
    assert set(seen) | {"__version__"} == set(triptych.__all__)
    for name, module in seen.items():
        assert getattr(import_module(module), name) is getattr(triptych, name)

"""Rules about who imports whom that import-linter's contracts cannot say."""

import ast
from pathlib import Path

import triptych

ROOT = Path(triptych.__file__).parent


def imports(file):
    """Every module that a file names in an import statement, wherever the statement stands."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module


def importers(package, folder=ROOT):
    return {
        str(file.relative_to(ROOT))
        for file in folder.rglob("*.py")
        for module in imports(file)
        if module.split(".")[0] == package
    }


def test_only_the_graphs_of_the_core_know_onnxruntime():
    assert {Path(file).parts[:2] for file in importers("onnxruntime", ROOT / "core")} == {
        ("core", "graphs")
    }
    assert importers("onnxruntime", ROOT / "plugins") == set()


def test_one_file_of_the_processors_knows_transformers():
    assert {Path(file).parts[:2] for file in importers("transformers", ROOT / "plugins")} == {
        ("plugins", "processors")
    }


def test_only_the_exporter_the_model_and_the_peers_of_bench_know_torch():
    folders = {Path(file).parts[0] for file in importers("torch")}
    assert folders <= {"export", "models", "bench"}


def test_the_command_line_alone_knows_typer_and_rich():
    assert {Path(file).parts[0] for file in importers("typer") | importers("rich")} <= {"cli"}

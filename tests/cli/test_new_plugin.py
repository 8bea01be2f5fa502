"""`triptych new-plugin`: what it writes, under which names, and what it refuses."""

import ast
import tomllib

import pytest

from triptych.cli.new_plugin import PluginKind
from triptych.cli.plugin_files import PLACEHOLDER, TEMPLATES, Names, templates
from triptych.core.components.catalog import SINGULAR, Catalog

KINDS = [kind.value for kind in PluginKind]


def test_there_is_a_template_for_every_kind():
    assert set(KINDS) == set(TEMPLATES) == set(SINGULAR.values())


def test_templates_name_only_words_that_are_filled_in():
    known = Names("sampler", "acme", "near_best").words
    for template in templates():
        assert set(PLACEHOLDER.findall(template.read_text(encoding="utf-8"))) <= set(known)


@pytest.mark.parametrize("kind", KINDS)
def test_a_package_is_written_with_names_in_every_place(triptych, tmp_path, kind):
    folder = tmp_path / "acme-things"
    done = triptych("new-plugin", folder, "--kind", kind)
    assert (done.code, done.err) == (0, "")
    name = TEMPLATES[kind].name
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert files == {
        "pyproject.toml",
        "README.md",
        "src/triptych_acme_things/__init__.py",
        "src/triptych_acme_things/manifest.py",
        f"src/triptych_acme_things/{name}.py",
        f"tests/test_{name}.py",
    }
    for file in files:
        text = (folder / file).read_text(encoding="utf-8")
        assert not PLACEHOLDER.search(text)
        if file.endswith(".py"):
            ast.parse(text)
    project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["name"] == "triptych-acme-things"
    assert project["entry-points"]["triptych"] == {"acme-things": "triptych_acme_things.manifest"}
    assert f"acme-things/{name}" in done.out


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_is_a_plugin_by_itself(triptych, tmp_path, kind):
    file = tmp_path / "my.py"
    assert triptych("new-plugin", file, "--kind", kind, "--file").code == 0
    name = f"local/{TEMPLATES[kind].name}"
    entry = Catalog([file]).find(next(k for k, one in SINGULAR.items() if one == kind), name)
    assert entry.load().__name__
    done = triptych("plugins", name, "--plugin", file)
    assert (done.code, done.err) == (0, "")
    assert entry.component.summary in done.out


def test_owner_and_name_are_ones_own(triptych, tmp_path):
    folder = tmp_path / "anything"
    done = triptych("new-plugin", folder, "--kind=stage", "--owner=acme", "--name=keep_faces")
    assert "acme/keep_faces" in done.out
    module = folder / "src/triptych_acme/keep_faces.py"
    assert "class KeepFaces:" in module.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--owner=local"], "the owner 'local' belongs to --plugin files"),
        (["--owner=ac/me"], "the owner 'ac/me' is not made of letters, digits, _ and -"),
        (["--name=KeepFaces"], "the name 'KeepFaces' is not made of small letters"),
        (["--name=class"], "the name 'class' is not made of small letters"),
        (["--name=manifest"], "the name 'manifest' is taken by a file of the package"),
        (["--file"], "is no name of a Python file; end it with .py"),
        (["--file", "--owner=acme"], "a file for --plugin is always of the owner 'local'"),
    ],
)
def test_names_that_cannot_be_are_refused_and_nothing_is_written(
    triptych, tmp_path, arguments, message
):
    done = triptych("new-plugin", tmp_path / "plugin", "--kind=sampler", *arguments)
    assert (done.code, done.out) == (2, "")
    assert message in done.err
    assert not list(tmp_path.iterdir())


def test_a_folder_without_letters_needs_an_owner(triptych, tmp_path):
    done = triptych("new-plugin", tmp_path / "2026", "--kind=sampler")
    assert done.code == 2
    assert "name its owner with --owner" in done.err


def test_nothing_that_is_there_is_overwritten(triptych, tmp_path):
    (tmp_path / "mine.py").write_text("mine", encoding="utf-8")
    for arguments in (["mine.py", "--file"], ["", "--owner=acme"], ["mine.py"]):
        place = tmp_path / arguments.pop(0)
        done = triptych("new-plugin", place, "--kind=sampler", *arguments)
        assert (done.code, done.out) == (2, "")
        assert "is there already" in done.err
    assert [path.name for path in tmp_path.iterdir()] == ["mine.py"]
    assert (tmp_path / "mine.py").read_text(encoding="utf-8") == "mine"


def test_an_empty_folder_is_filled(triptych, tmp_path):
    assert triptych("new-plugin", tmp_path, "--kind=metric", "--owner=acme").code == 0


def test_a_kind_that_is_none_is_told_with_those_there_are(triptych, tmp_path):
    done = triptych("new-plugin", tmp_path / "plugin", "--kind=samplers")
    assert done.code == 2
    assert "sampler" in done.err

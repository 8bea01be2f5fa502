"""What the pages on plugins and on sampling tell people to type works as it stands."""

import re
import runpy
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.core.environments import SOURCE
from tests.end_to_end.sites import install
from triptych import Item, Request
from triptych.cli.main import main
from triptych.cli.plugin_files import TEMPLATES
from triptych.core.config.load import load_spec

DOCS = Path(__file__).parents[2] / "docs"
PAGES = [*sorted((DOCS / "plugins").glob("*.md")), DOCS / "sampling.md"]
BLOCK = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```$', re.DOTALL | re.MULTILINE)


def blocks(page, language):
    """(title, text) of a page's blocks in one language."""
    found = BLOCK.findall(page.read_text(encoding="utf-8"))
    return [(title, text) for kind, title, text in found if kind == language]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Every file that the pages tell to save."""
    folder = tmp_path_factory.mktemp("pages")
    for page in PAGES:
        for title, text in blocks(page, "python"):
            if title:
                assert not (folder / title).exists(), title
                (folder / title).write_text(text, encoding="utf-8")
    return folder


def test_the_tests_of_the_pages_pass(folder):
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-W",
            "error",
            "-p",
            "no:cacheprovider",
            str(folder),
        ],
        env={"PYTHONPATH": SOURCE, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    tests = {title for page in PAGES for title, _ in blocks(page, "python") if "test_" in title}
    assert len(tests) == len(TEMPLATES) + 1  # one a kind, and that of all kinds


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_commands_of_a_page_work(page, folder, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(folder)
    site = None
    for _, text in blocks(page, "sh"):
        for line in text.splitlines():
            words = shlex.split(line)
            if words[:2] == ["pip", "install"]:
                site = install(tmp_path, [folder / words[-1].partition("[")[0]])
            elif words[0] == "python":
                done = site.pytest(*words[3:], cwd=folder)
                assert done.returncode == 0, done.stdout
            elif site is not None:
                done = site.triptych(*words[1:])
                assert done.returncode == 0, done.stderr
                site = None
            else:
                assert words[0] == "triptych"
                assert main(words[1:]) == 0, capsys.readouterr().err
                assert capsys.readouterr().out.strip()


def test_the_chains_of_the_page_on_sampling_are_chains():
    from ruamel.yaml import YAML

    from triptych.core.components.catalog import Catalog
    from triptych.core.config.locate import builtin

    head = YAML(typ="safe").load(builtin("sketch") / "pipeline.yaml")
    for _, text in blocks(DOCS / "sampling.md", "yaml"):
        document = {**head, "root": "sketch", **YAML(typ="safe").load(text)}
        spec = load_spec(document, catalog=Catalog())
        assert spec.sampler


def test_the_python_of_the_page_on_sampling_runs(tmp_path):
    for number, (_, text) in enumerate(blocks(DOCS / "sampling.md", "python")):
        file = tmp_path / f"block_{number}.py"
        file.write_text(text, encoding="utf-8")
        runpy.run_path(str(file))


def test_every_check_and_order_is_in_the_pages():
    from triptych.core.config.orders import ORDERS
    from triptych.testing.check import HOMES, checks_of

    fill = runpy.run_path(str(DOCS / "promises.py"))["on_page_markdown"]
    page = fill((DOCS / "plugins" / "index.md").read_text(encoding="utf-8"))
    for kind in HOMES:
        assert f"### The promises of a {kind}" in page
        for check in checks_of(kind):
            assert re.search(rf"\| `{check.name}` \| \S", page), f"{check.name} promises nothing"
    sampling = fill((DOCS / "sampling.md").read_text(encoding="utf-8"))
    for order in ORDERS:
        assert f"| `{order}` | " in sampling


@pytest.mark.parametrize(
    ("kind", "name"), [("samplers", "sampling"), ("datasets", "data"), ("metrics", "data")]
)
def test_every_component_is_on_the_page_of_its_kind(kind, name):
    from triptych.core.components.catalog import Catalog

    fill = runpy.run_path(str(DOCS / "components.py"))["on_page_markdown"]
    page = fill((DOCS / f"{name}.md").read_text(encoding="utf-8"))
    for one in Catalog().names(kind):
        assert f"| `{one}` | " in page


def test_the_page_on_data_and_metrics_names_every_score():
    from triptych.core.components.catalog import Catalog
    from triptych.testing import answer

    page = (DOCS / "data.md").read_text(encoding="utf-8")
    item = Item("one", Request("How many?"), "3")
    for name in Catalog().names("metrics"):
        kind = Catalog().find("metrics", name).load()
        metric = kind(kind.Settings()) if hasattr(kind, "Settings") else kind()
        (row,) = [
            line
            for line in page.splitlines()
            if line.startswith("| `") and f"`{name}`" in (line.split("|")[1])
        ]
        for score in metric(item, answer("3")):
            assert f"`{score}`" in row.split("|")[2]

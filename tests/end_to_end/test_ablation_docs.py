"""What the page on ablations tells people to type works as it stands."""

import re
import shlex
import sqlite3
from pathlib import Path

import pytest

from triptych.cli.main import main
from triptych.workbench.runs.schema import TABLES
from triptych.workbench.sweep.read import ARM_KEYS, KEYS

PAGE = (Path(__file__).parents[2] / "docs" / "ablations.md").read_text(encoding="utf-8")
BLOCK = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```$', re.DOTALL | re.MULTILINE)


def blocks(language):
    return [(title, text) for kind, title, text in BLOCK.findall(PAGE) if kind == language]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The page's file, in a working directory of its own."""
    folder = tmp_path_factory.mktemp("ablations")
    for title, text in blocks("yaml"):
        (folder / title).write_text(text, encoding="utf-8")
    return folder


@pytest.fixture(autouse=True)
def there(folder, monkeypatch):
    monkeypatch.chdir(folder)


def figures(text):
    """The lines of a dry run but for what depends on the machine."""
    lines = [" ".join(line.split()) for line in text.splitlines()]
    return [line for line in lines if line and not line.startswith(("about", "─"))]


def test_the_commands_of_the_page_say_what_the_page_shows_and_leave_what_it_lists(folder, capsys):
    dry, run = [shlex.split(text)[1:] for _, text in blocks("sh")]
    assert main(dry) == 0
    said = capsys.readouterr().out
    assert figures(said) == figures(blocks("text")[0][1])
    assert main(run) == 0
    said = capsys.readouterr().out
    assert re.search(r"no_deepstack .* .0\.367 ▼ │ .0\.550 to .0\.184", said)
    named = re.findall(r"`([\w.]+\.(?:csv|md|html|sqlite|parquet))`", PAGE)
    assert {path.name for path in (folder / "results").iterdir()} >= set(named)
    again, delete = [text for _, text in blocks("sql")][::-1]
    with sqlite3.connect(folder / "results" / "runs.sqlite") as database:
        rows = database.execute(again).fetchall()
        assert rows
        assert all(before != after for _, before, after in rows)
        before = database.execute("SELECT count(*) FROM runs").fetchone()
        database.executescript(delete)
        assert database.execute("SELECT count(*) FROM runs").fetchone() == before


def test_the_mistake_on_the_page_is_answered_as_the_page_shows(folder, capsys):
    text = (folder / "sweep.yaml").read_text(encoding="utf-8")
    wrong = folder / "wrong" / "sweep.yaml"
    wrong.parent.mkdir()
    text = text.replace("sampler.temperature", "sampler.temprature")
    wrong.write_text(text, encoding="utf-8")
    assert main(["ablate", str(wrong), "--dry-run"]) == 2
    said = capsys.readouterr().err.replace(f"{wrong.parent}/", "")
    assert blocks("text")[1][1].strip() in said


def test_the_python_of_the_page_runs(capsys):
    for _, text in blocks("python"):
        exec(compile(text, "ablations.md", "exec"), {})
    said = capsys.readouterr().out
    assert "'no_deepstack'" in said


def test_every_table_column_and_key_is_on_the_page():
    tables = re.findall(r"CREATE TABLE (\w+) \((.*?)\n\)", TABLES, re.DOTALL)
    section = PAGE[PAGE.index("## The database") :]
    for table, body in tables:
        start = section.index(f"| `{table}` |")
        end = re.search(r"\n\| `|\n\n", section[start:])
        rows = section[start : start + end.start()]
        for column in re.findall(r"^    ([a-z_]+) [A-Z]", body, re.MULTILINE):
            assert f"`{column}`" in rows, (table, column)
    for key in (*KEYS, *ARM_KEYS):
        assert f"| `{key}` |" in PAGE or f"a `{key}`" in PAGE, key

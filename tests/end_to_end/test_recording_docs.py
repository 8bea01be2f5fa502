"""What the page on recordings tells people to type says what the page shows."""

import re
import shlex
from pathlib import Path

import pytest

from triptych.cli.main import main

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "recording.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
ROW = re.compile(r"^\| [^|]+ \| (`\w+` of `\w+` at step \d+) \| ([\d.e-]+) \| ([\d.e-]+) \|$")

FIRST = re.compile(
    r"^first difference: (\w+) of (\w+) at (step \d+) .*: relative error ([\d.e-]+)", re.MULTILINE
)
LOGITS = re.compile(r"^ *decoder +logits +\d+ +\d+ +([\d.e-]+)", re.MULTILINE)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A working directory in which the page's paths are there."""
    folder = tmp_path_factory.mktemp("recordings")
    for name in ("examples", "checkpoints"):
        (folder / name).symlink_to(ROOT / name)
    return folder


@pytest.fixture(autouse=True)
def there(folder, monkeypatch):
    monkeypatch.chdir(folder)


def blocks(language):
    return [
        text for kind, text in BLOCK.findall(PAGE.read_text(encoding="utf-8")) if kind == language
    ]


def commands(text):
    lines = text.replace("\\\n", " ").splitlines()
    return [shlex.split(line)[1:] for line in lines if line.startswith("triptych ")]


def close(said, told):
    """Roundings of 8-bit weights depend on how many threads chose them."""
    return float(told) / 3 < float(said) < float(told) * 3


def test_the_commands_find_what_the_page_says_they_find(capsys):
    firsts, errors = [], []
    for text in blocks("sh"):
        for command in commands(text):
            capsys.readouterr()
            code = main(command)
            said = capsys.readouterr().out
            assert code == (1 if command[0] == "diff" else 0), command
            if command[0] == "diff":
                first = FIRST.search(said)
                firsts.append(f"`{first[1]}` of `{first[2]}` at {first[3]}")
                errors.append((first[4], LOGITS.search(said)[1]))
    rows = [match for line in PAGE.read_text().splitlines() if (match := ROW.match(line))]
    assert firsts == [row[1] for row in rows]
    for (far, logits), row in zip(errors, rows, strict=True):
        assert close(far, row[2]), row[1]
        assert close(logits, row[3]), row[1]


def test_the_python_runs(capsys):
    space = {}
    for text in blocks("python"):
        exec(compile(text, str(PAGE), "exec"), space)
    same, largest, difference, *norms = capsys.readouterr().out.splitlines()
    assert (same, difference) == ("True", "None")
    assert float(largest) > 0
    assert [line.split()[:2] for line in norms] == [
        *(["embeddings", "inputs_embeds"], ["merge", "inputs_embeds"]),
        ["embeddings", "inputs_embeds"],
    ]

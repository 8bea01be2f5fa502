"""The files of a report: the same each time, and safe whatever the answers are."""

import csv
import io
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from rich.console import Console

from tests.workbench.synthetic import made, picture
from triptych.cli.ablation_table import ablation_table
from triptych.workbench.report import write
from triptych.workbench.statistics import compare

HOSTILE = '<script>alert(1)</script>"><img src=x onerror=alert(2)> | [x](http://evil) `{{ 7*7 }}`'


@pytest.fixture(scope="module")
def folder(results, tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    write(results, folder)
    return folder


@pytest.fixture(scope="module")
def page(folder):
    return (folder / "report.html").read_text(encoding="utf-8")


class Elements(HTMLParser):
    """Counts elements and collects what refers to something."""

    def __init__(self, text):
        super().__init__()
        self.names, self.references, self.handlers, self.ids = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.names.append(tag)
        for name, value in attrs:
            if name in ("src", "href", "xlink:href"):
                self.references.append(value)
            if name.startswith("on"):
                self.handlers.append(name)
            if name == "id":
                self.ids.append(value)


def test_the_same_results_in_any_order_give_the_same_bytes(results, folder, tmp_path):
    write(replace(results, runs=results.runs[::-1]), tmp_path)
    for name in ("report.md", "report.html", "summary.csv"):
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes()


def test_the_page_needs_nothing_but_itself(page):
    elements = Elements(page)
    assert all(reference.startswith("#") for reference in elements.references)
    assert not {"script", "link", "iframe", "object"} & set(elements.names)
    assert all(url.startswith(("#", "data:")) for url in re.findall(r"url\(([^)]*)\)", page))
    assert "default-src 'none'" in page


def test_ids_of_its_drawings_do_not_meet(page):
    ids = Elements(page).ids
    assert len(ids) == len(set(ids))


def test_it_draws_the_front_the_differences_and_the_tasks(page):
    labels = re.findall(r'<svg role="img" aria-label="([^"]*)"', page)
    assert [label.partition(",")[0].partition(".")[0] for label in labels] == [
        "exact_match against tokens_per_second",
        "Differences in exact_match",
        "exact_match by task",
        "Differences in tokens_per_second",
    ]
    # The slow and good one, the base or its like, and the fast one.
    assert "In front: " in labels[0]
    assert "min_p" in labels[0].partition("In front: ")[2]


def test_a_picture_is_on_the_page_once(page):
    urls = re.findall(r"url\((data:[^)]*)\)", page)
    assert len(urls) == len(set(urls)) > 10
    assert page.count('role="img" aria-label="picture 1 of') > len(urls)


def test_hostile_text_is_shown_and_does_nothing(results, tmp_path):
    arms = tuple(
        replace(arm, name=HOSTILE, changes={HOSTILE: HOSTILE}, config=HOSTILE)
        if arm.name == "hot"
        else arm
        for arm in results.arms
    )
    runs = tuple(
        replace(
            run,
            arm=HOSTILE if run.arm == "hot" else run.arm,
            text=HOSTILE if run.error is None else None,
            error=run.error and HOSTILE,
        )
        for run in results.runs
    )
    questions = tuple(
        replace(question, question=HOSTILE, reference=HOSTILE, task=HOSTILE)
        for question in results.questions
    )
    hostile = replace(results, arms=arms, runs=runs, questions=questions, about={HOSTILE: HOSTILE})
    write(hostile, tmp_path)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    elements = Elements(page)
    assert "&lt;script&gt;alert(1)" in page
    assert not {"script", "img"} & set(elements.names)
    assert not elements.handlers
    assert "{{ 7*7 }}" in page
    shown = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert not re.search(r"(?<!\\)<|(?<!\\)\[|(?<!\\)`", shown)
    for line in shown.splitlines():
        if HOSTILE[:10] in line.replace("\\", "") and line.startswith("|"):
            assert len(re.findall(r"(?<!\\)\|", line)) >= 3
    said = Console(file=io.StringIO(), width=200)
    said.print(ablation_table(hostile, compare(hostile, resamples=99)))
    assert "[x](http://evil)" in said.file.getvalue().replace("\n", "")


def test_hundreds_of_questions_and_many_arms_stay_a_few_megabytes(tmp_path):
    effects = {"base": 0.0} | {f"arm-{number}": -0.05 * number for number in range(1, 8)}
    results = made(effects, items=500, per_cluster=2, seeds=1, pictures=False)
    long = tuple(replace(run, text="word " * 2000) for run in results.runs)
    questions = tuple(
        replace(question, images=(picture(number, size=160),))
        for number, question in enumerate(results.questions)
    )
    write(replace(results, runs=long, questions=questions), tmp_path)
    assert (tmp_path / "report.html").stat().st_size < 3_000_000


def test_what_is_no_picture_is_left_out(results, tmp_path):
    questions = tuple(
        replace(question, images=(b"<svg onload=alert(1)>", b"")) for question in results.questions
    )
    write(replace(results, questions=questions), tmp_path)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "data:" not in page.partition("</style>")[0].partition("<style>")[2]


@pytest.mark.parametrize("kept", [0, 3, 100])
def test_a_sweep_that_has_just_begun_has_a_report(results, tmp_path, kept):
    write(replace(results, runs=results.runs[:kept]), tmp_path)
    assert (tmp_path / "report.html").stat().st_size > 1000


def test_markdown_has_a_table_for_each_score(folder):
    text = (folder / "report.md").read_text(encoding="utf-8")
    headings = [line for line in text.splitlines() if line.startswith("#")]
    assert headings == [
        "# Ablation: 4 arms",
        "## Arms",
        "## exact_match (higher is better)",
        "## tokens_per_second (higher is better)",
        "## exact_match by task",
        "## Failures",
        "## How the numbers were made",
        "## Versions and machine",
    ]
    widths = [line.count("|") for line in text.splitlines() if line.startswith("| ---")]
    assert len(widths) == 6


def test_the_summary_has_a_row_for_each_arm_score_and_task(results, folder):
    rows = list(csv.DictReader((folder / "summary.csv").read_text(encoding="utf-8").splitlines()))
    assert len(rows) == 4 * 2 * (1 + 3)
    comparison = compare(results)
    row = next(row for row in rows if row["arm"] == "hot" and not row["task"])
    found = comparison.difference("hot", "exact_match")
    assert float(row["difference"]) == pytest.approx(found.estimate.mean, rel=1e-8)
    assert float(row["p_corrected"]) == pytest.approx(found.corrected, rel=1e-8)
    assert (row["wins"], row["losses"]) == (str(found.mcnemar.wins), str(found.mcnemar.losses))
    assert (row["paired"], row["unpaired"], row["failures"]) == ("118", "2", "4")
    base = next(row for row in rows if row["arm"] == "base")
    assert base["difference"] == ""

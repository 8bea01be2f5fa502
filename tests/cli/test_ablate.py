"""`triptych ablate` from the sweep file to the table, and what it says before it runs."""

import csv
import re

import pytest

from tests.workbench.sweeps import MADE_UP, write

SWEEP = """\
format: 1
data: {local/few: 3}
metrics: [local/length]
matrix: {sampler.temperature: [0.5, 3.0]}
seeds: [0, 1]
"""


@pytest.fixture
def ablate(triptych, tmp_path):
    """Runs the verb on a sweep's text."""

    def call(*flags, text=SWEEP):
        file = write(tmp_path, text)
        return triptych("ablate", file, "--plugin", MADE_UP, *flags)

    return call


def test_a_sweep_leaves_its_database_tables_and_reports(ablate, tmp_path):
    done = ablate("--out", tmp_path / "out")
    assert done.code == 0, done.err
    assert {path.name for path in (tmp_path / "out").iterdir()} >= {
        "runs.sqlite",
        "results.csv",
        "timings.csv",
        "results.parquet",
        "report.md",
        "report.html",
    }
    assert "letters" in done.out
    assert "temperature=3.0" in done.out
    assert "18 of 18 runs are done" in done.err


def test_results_hold_what_is_always_the_same_and_timings_the_rest(ablate, tmp_path):
    ablate("--out", tmp_path / "out")
    with (tmp_path / "out" / "results.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    keys = [(row["arm"], row["item"], row["seed"]) for row in rows]
    arms = ["base", "temperature=0.5", "temperature=3.0"]
    assert keys == [(arm, f"q{i}", f"{seed}") for arm in arms for i in range(3) for seed in (0, 1)]
    assert rows[0]["text"] == "Paris"
    assert rows[0]["letters"] == "5"
    assert rows[0]["finish_reason"] == "eos"
    assert int(rows[0]["completion_tokens"]) > 0
    with (tmp_path / "out" / "timings.csv").open(encoding="utf-8", newline="") as file:
        timings = list(csv.DictReader(file))
    assert len(timings) == 3 + 6 + 6  # Copies took no time.
    assert all(float(row["wall"]) > 0 for row in timings)
    assert not set(timings[0]) & {"text", "letters"}


def test_parquet_has_a_row_for_each_run_and_a_column_for_each_score(ablate, tmp_path):
    from pyarrow import parquet

    ablate("--out", tmp_path / "out")
    table = parquet.read_table(tmp_path / "out" / "results.parquet")
    assert table.num_rows == 18
    assert table.column("letters").to_pylist()[0] == 5.0
    assert set(table.column("arm").to_pylist()) == {"base", "temperature=0.5", "temperature=3.0"}


def test_a_dry_run_says_what_would_run_and_writes_nothing(ablate, tmp_path):
    done = ablate("--dry-run")
    assert done.code == 0, done.err
    assert re.search(r"temperature=0\.5 +sampler\.temperature: 0\.5 +6", done.out)
    assert re.search(r"base +nothing +3", done.out)
    assert "3 arms, 3 items in 3 clusters: 18 runs, of which 15 are computed" in done.out
    assert re.search(r"about \d+ seconds, in company, as the base arm answered 3 items", done.out)
    assert re.search(r"about \d\.\d GB of memory", done.out)
    assert "too few items to find any difference; ask more" in done.out
    assert [path.name for path in tmp_path.iterdir()] == ["sweep.yaml"]


def test_a_dry_run_of_timed_arms_says_that_they_are_alone(ablate):
    done = ablate("--dry-run", text=SWEEP.replace("length", "process"))
    assert "one by one, each arm in a process of its own" in done.out
    assert "18 runs, of which 18 are computed" in done.out


@pytest.mark.parametrize("metric", ["local/length", "local/process"])
def test_a_dry_run_says_which_arm_cannot_be_loaded(ablate, metric):
    arm = "include: [{name: fast, set: {session.providers: [cuda]}}]\n"
    done = ablate("--dry-run", text=SWEEP.replace("local/length", metric) + arm)
    assert done.code == 2
    assert done.err.startswith("error: arm fast: ")
    assert "cuda" in done.err


def test_a_dry_run_says_which_arm_fails_on_the_first_item(ablate):
    arm = "include: [{name: tiny, set: {session.max_context: 8}}]\n"
    done = ablate("--dry-run", text=SWEEP + arm)
    assert done.code == 0, done.err
    assert "warning: arm tiny fails on the first item: " in done.err
    assert "arm base" not in done.err
    assert "4 arms, 3 items" in done.out


def test_what_failed_is_said_below_the_table(ablate, tmp_path):
    arm = "include: [{name: tiny, set: {session.max_context: 8}}]\n"
    done = ablate("--out", tmp_path / "out", text=SWEEP + arm)
    assert done.code == 0, done.err
    assert re.search(
        r"^tiny: .*raise session\.max_context \(\d runs?\)", done.out, re.MULTILINE | re.DOTALL
    )


def test_what_is_wrong_is_said_before_anything_runs(ablate, tmp_path):
    done = ablate("--out", tmp_path / "out", text=SWEEP.replace("temperature", "temprature"))
    assert done.code == 2
    assert "sweep.yaml:4:31: matrix.sampler.temprature[0]: there is no sampling step" in done.err
    assert not (tmp_path / "out").exists()


def test_without_a_folder_for_results_nothing_is_run(ablate):
    done = ablate()
    assert done.code == 2
    assert "--out DIR says where the results go; or look first, with --dry-run" in done.err


def test_another_sweep_in_the_same_folder_is_refused(ablate, tmp_path):
    assert ablate("--out", tmp_path / "out", "--limit", 1).code == 0
    done = ablate("--out", tmp_path / "out", "--limit", 2)
    assert done.code == 2
    assert "limit: was 1, is 2" in done.err


def test_an_unknown_engine_is_refused_with_the_known_ones(ablate, tmp_path):
    done = ablate("--out", tmp_path / "out", "--engine", "loca")
    assert done.code == 2
    assert "did you mean 'local'" in done.err
    assert not (tmp_path / "out").exists()


def test_times_are_not_measured_where_workers_share_machines(ablate, tmp_path):
    done = ablate(
        "--out", tmp_path / "out", "--engine", "ray", text=SWEEP.replace("length", "process")
    )
    assert done.code == 2
    assert "leave out --engine ray" in done.err


def test_a_dry_run_says_what_could_be_found(ablate):
    done = ablate("--dry-run", text=SWEEP.replace("few: 3", "few: 200"))
    found = float(re.search(r"a true difference of (\S+) .* four times in five", done.out)[1])
    assert 0 < found < 0.2


def test_a_missing_package_is_named_before_anything_runs(ablate, tmp_path, monkeypatch):
    from triptych.workbench import extra

    monkeypatch.setattr(extra, "find_spec", lambda name: None if name == "pyarrow" else name)
    done = ablate("--out", tmp_path / "out")
    assert done.code == 2
    assert 'needs the package pyarrow: pip install "triptych[workbench]"' in done.err
    assert not (tmp_path / "out").exists()

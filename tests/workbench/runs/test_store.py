"""The database of an ablation: what it keeps, and whom it belongs to."""

import sqlite3
from itertools import permutations

import pytest

from tests.workbench.sweeps import read
from triptych.workbench.engines.local import LocalEngine
from triptych.workbench.results import Arm, Question, ScoreKind
from triptych.workbench.runs.store import Cell, Store, StoreError
from triptych.workbench.runs.task import Outcome, Score

KIND = ScoreKind("right", "exact_match")
SWEEP = "format: 1\ndata: {local/few: 2}\nmetrics: [local/length]\nseeds: [0, 1]\n"


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path) as store:
        store.begin([Arm("base"), Arm("hot", {"sampler.temperature": 2.0}, "c", {"f": "1"})], {})
        store.add_questions([(0, Question("b", "B?", {"x": [1]}, "t", "c", (b"png",)))])
        store.add_questions([(1, Question("a", "A?", "ä"))])
        yield store


def outcome(arm="base", item="a", seed=0, right=None, **given):
    scores = () if right is None else (Score(KIND, 0, right),)
    return Outcome(arm, item, seed, 0, 99, text="yes", tokens=(4, 5), scores=scores, **given)


def test_results_are_what_was_put_in_arms_and_questions_in_their_order(store):
    session = store.begin_session("local", {}, MACHINE)
    store.add(outcome(right=1.0), session)
    store.add(outcome("hot", "b", 1, error="no"), session)
    found = store.results()
    assert [arm.name for arm in found.arms] == ["base", "hot"]
    assert found.arms[1].changes == {"sampler.temperature": 2.0}
    assert found.questions[0] == Question("b", "B?", {"x": [1]}, "t", "c", (b"png",))
    assert [question.id for question in found.questions] == ["b", "a"]
    assert found.scores == (KIND,)
    assert [(run.arm, run.item, run.seed, run.error, dict(run.scores)) for run in found.runs] == [
        ("base", "a", 0, None, {"right": 1.0}),
        ("hot", "b", 1, "no", {}),
    ]


MACHINE = {"processor": "P", "architecture": "x", "threads": 2, "memory": 2**33, "system": "S"}


def test_a_run_that_is_there_stays_as_it_is(store):
    session = store.begin_session("local", {}, MACHINE)
    assert store.add(outcome(right=1.0), session) == 1
    assert store.add(outcome(right=0.0), session) == 0
    assert [run.scores for run in store.results().runs] == [{"right": 1.0}]


def test_copies_are_runs_of_their_own_that_say_whose_they_are(store):
    session = store.begin_session("local", {}, MACHINE)
    copies = [Cell("base", "a", 1, 0), Cell("hot", "a", 0, 0)]
    assert store.add(outcome(right=1.0), session, copies) == 3
    rows = list(store.rows())
    assert [(row["arm"], row["seed"], row["scores"]) for row in rows] == [
        ("base", 0, {"right": 1.0}),
        ("base", 1, {"right": 1.0}),
        ("hot", 0, {"right": 1.0}),
    ]
    first = rows[0]["id"]
    assert [row["copy_of"] for row in rows] == [None, first, first]


def test_a_name_that_two_metrics_give_has_the_metrics_before_it(store):
    session = store.begin_session("local", {}, MACHINE)
    one, other = (Score(ScoreKind("f1", name), place, place / 2) for place, name in enumerate("ab"))
    for seed, scores in enumerate([(one,), (one, other), (other,)]):
        store.add(Outcome("base", "a", seed, 0, 99, text="yes", scores=scores), session)
    found = store.results()
    assert [kind.name for kind in found.scores] == ["a.f1", "b.f1"]
    assert [run.scores for run in found.runs] == [
        {"a.f1": 0.0},
        {"a.f1": 0.0, "b.f1": 0.5},
        {"b.f1": 0.5},
    ]


@pytest.mark.parametrize("order", list(permutations(range(4))))
def test_whichever_score_comes_first_all_are_called_the_same_in_the_same_order(store, order):
    session = store.begin_session("local", {}, MACHINE)
    kinds = [ScoreKind("f1", name) for name in "abc"] + [ScoreKind("em", "c")]
    for place in order:
        score = Score(kinds[place], place, 1.0)
        store.add(Outcome("base", "a", place, 0, 99, text="yes", scores=(score,)), session)
    found = store.results()
    assert [kind.name for kind in found.scores] == ["a.f1", "b.f1", "c.f1", "em"]
    assert [set(run.scores) for run in found.runs] == [{"a.f1"}, {"b.f1"}, {"c.f1"}, {"em"}]


def test_what_fails_in_the_midst_leaves_nothing(store):
    session = store.begin_session("local", {}, MACHINE)
    with pytest.raises(sqlite3.IntegrityError):
        store.add(outcome(right=1.0), session, [Cell("nobody", "a", 0, 0)])
    assert store.count("runs") == store.count("scores") == 0


def test_a_full_disk_is_said_and_loses_only_what_was_being_written(store):
    session = store.begin_session("local", {}, MACHINE)
    store.add(outcome(right=1.0), session)
    (pages,) = store._db.execute("PRAGMA page_count").fetchone()
    store._db.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(StoreError, match=r"cannot be written: .* is full; mend that"):
        store.add_questions([(2, Question("c", "long" * 10_000, "x"))])
    assert [run.item for run in store.results().runs] == ["a"]
    assert len(store.questions) == 2


def test_tokens_of_an_answer_are_found_again_and_those_of_a_failure_are_not(store):
    session = store.begin_session("local", {}, MACHINE)
    store.add(outcome(), session)
    store.add(Outcome("base", "b", 0, 0, 99, error="no"), session)
    assert store.tokens(Cell("base", "a", 0, 0)) == (4, 5)
    assert store.tokens(Cell("base", "b", 0, 0)) is None
    assert store.done("a") == {Cell("base", "a", 0, 0)}


def test_a_file_that_is_no_database_is_refused(tmp_path):
    (tmp_path / "runs.sqlite").write_text("no database at all", encoding="utf-8")
    with pytest.raises(StoreError, match=r"cannot be used.*name another --out"):
        Store(tmp_path)


def test_a_database_of_another_version_is_refused(tmp_path):
    with sqlite3.connect(tmp_path / "runs.sqlite") as database:
        database.execute("PRAGMA user_version = 7")
    with pytest.raises(StoreError, match="is of version 7, and this Triptych writes 1"):
        Store(tmp_path)


def run(folder, text, **options):
    asked = read(folder, text, **options)
    with Store(folder / "out") as store:
        asked.run(store, LocalEngine())
        return store.results()


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("seeds: [0, 1]", "seeds: [0, 2]", r"seeds: was \[0, 1\], is \[0, 2\]"),
        ("local/few: 2", "local/few: 3", "data.local/few: was 2, is 3"),
        ("seeds: [0, 1]", "seeds: [0, 1]\nlimit: 1", "limit: was not there, is 1"),
        (
            "seeds: [0, 1]",
            "seeds: [0, 1]\nmatrix: {sampler: [[draw]]}",
            r'matrix: was not there, is {"sampler": \[\["draw"\]\]}\n  arm sampler=draw: is new',
        ),
    ],
)
def test_another_sweep_is_refused_and_what_is_different_is_said(tmp_path, old, new, words):
    run(tmp_path, SWEEP)
    with pytest.raises(StoreError, match=words) as refused:
        run(tmp_path, SWEEP.replace(old, new))
    assert "put that back to go on with it, or name another --out" in str(refused.value)


def test_other_words_for_the_same_sweep_go_on(tmp_path):
    run(tmp_path, SWEEP)
    run(tmp_path, f"# The same.\n{SWEEP.replace('[0, 1]', chr(10) + '  - 0' + chr(10) + '  - 1')}")


def test_a_pipeline_whose_files_have_changed_is_refused(tmp_path):
    from triptych.core.config.locate import builtin

    model = tmp_path / "model"
    model.mkdir()
    for path in builtin("sketch").iterdir():
        (model / path.name).write_bytes(path.read_bytes())
    text = f"base: {model.name}\n{SWEEP}"
    run(tmp_path, text)
    template = model / "chat_template.jinja"
    template.write_text(template.read_text(encoding="utf-8") + " ", encoding="utf-8")
    with pytest.raises(StoreError, match=r"arm base: the file chat_template\.jinja has changed"):
        run(tmp_path, text)
    pipeline = model / "pipeline.yaml"
    pipeline.write_text(
        pipeline.read_text(encoding="utf-8").replace("max_new_tokens: 100", "max_new_tokens: 9"),
        encoding="utf-8",
    )
    with pytest.raises(StoreError, match=r"arm base: stop\.max_new_tokens: was 100, is 9"):
        run(tmp_path, text)


def test_a_folder_that_has_moved_goes_on(tmp_path):
    from triptych.core.config.locate import builtin

    here = tmp_path / "here"
    (here / "model").mkdir(parents=True)
    for path in builtin("sketch").iterdir():
        (here / "model" / path.name).write_bytes(path.read_bytes())
    before = run(here, f"base: model\n{SWEEP}").runs
    there = here.rename(tmp_path / "there")
    with sqlite3.connect(there / "out" / "runs.sqlite") as database:
        seconds = "SELECT rowid FROM runs WHERE seed = 1"
        database.execute(f"DELETE FROM scores WHERE run IN ({seconds})")
        database.execute("DELETE FROM runs WHERE seed = 1")
    after = run(there, f"base: model\n{SWEEP}").runs
    assert sorted(after, key=repr) == sorted(before, key=repr)


def test_a_database_of_something_else_is_left_as_it_is(tmp_path):
    database = sqlite3.connect(tmp_path / "runs.sqlite")
    database.execute("CREATE TABLE mine (x)")
    database.close()
    with pytest.raises(StoreError, match="has tables that are not an ablation's"):
        Store(tmp_path)
    database = sqlite3.connect(tmp_path / "runs.sqlite")
    assert database.execute("SELECT name FROM sqlite_schema").fetchall() == [("mine",)]
    database.close()


def test_data_that_has_changed_behind_the_same_words_is_refused(tmp_path, monkeypatch):
    run(tmp_path, SWEEP)
    asked = read(tmp_path, SWEEP)
    items = list(asked.items())[::-1]
    monkeypatch.setattr(type(asked), "items", lambda self: iter(items))
    with (
        Store(tmp_path / "out") as store,
        pytest.raises(StoreError, match=r"where item 'q0' was, there is now 'q1'"),
    ):
        asked.run(store, LocalEngine())


def test_two_processes_do_not_fill_one_database(tmp_path):
    asked = read(tmp_path, SWEEP)
    with (
        Store(tmp_path / "out") as one,
        Store(tmp_path / "out") as other,
        one.alone(),
        pytest.raises(StoreError, match="is being filled by another process"),
    ):
        asked.run(other, LocalEngine())


def test_a_reference_that_json_has_no_form_for_is_refused(tmp_path, monkeypatch):
    from dataclasses import replace

    asked = read(tmp_path, SWEEP)
    items = [replace(item, reference={1, 2}) for item in asked.items()]
    monkeypatch.setattr(type(asked), "items", lambda self: iter(items))
    with (
        Store(tmp_path / "out") as store,
        pytest.raises(StoreError, match="item 'q0' has no form in JSON"),
    ):
        asked.run(store, LocalEngine())


@pytest.mark.parametrize(
    ("copies", "words"),
    [(2, "two items of the data have the id 'q0'"), (0, "the data has no items")],
)
def test_data_that_cannot_be_asked_is_refused(tmp_path, monkeypatch, copies, words):
    asked = read(tmp_path, SWEEP)
    items = list(asked.items())[:1] * copies
    monkeypatch.setattr(type(asked), "items", lambda self: iter(items))
    with Store(tmp_path / "out") as store, pytest.raises(StoreError, match=words):
        asked.run(store, LocalEngine())

"""What is run of a sweep, with which seed, who shares what, and what a failure leaves."""

import hashlib
import os

import pytest

import triptych
from tests.workbench.sweeps import by_cell, read, run
from triptych.core.errors import PluginError
from triptych.core.graphs.graph import Graph
from triptych.workbench.engines.local import LocalEngine
from triptych.workbench.runs.seeds import run_seed
from triptych.workbench.runs.store import Store
from triptych.workbench.runs.task import Task

PLAIN = "format: 1\ndata: {local/few: %d}\nmetrics: [local/length]\n"
HOT = "matrix: {sampler.temperature: [3.0]}\nseeds: [0, 1, 2]\n"


@pytest.fixture
def graph_runs(monkeypatch):
    """How often each graph was run, by its file's name."""
    counts = {}
    run = Graph.run

    def counted(self, feeds, outputs):
        counts[self.path.name] = counts.get(self.path.name, 0) + 1
        return run(self, feeds, outputs)

    monkeypatch.setattr(Graph, "run", counted)
    return counts


def test_a_runs_seed_is_made_of_the_sweeps_and_of_the_item():
    digest = hashlib.sha256(b"7\0item 3").digest()
    expected = (digest[0] << 24) + (digest[1] << 16) + (digest[2] << 8) + digest[3]
    assert run_seed(7, "item 3") == expected
    assert len({run_seed(seed, item) for seed in range(9) for item in ("a", "b")}) == 18


def test_every_arm_is_asked_every_item_with_every_seed_and_answers_as_it_does_alone(tmp_path):
    runs = by_cell(run(tmp_path, PLAIN % 3 + HOT))
    assert len(runs) == 2 * 3 * 3
    pipe = triptych.load(overrides={"sampler.temperature": 3.0})
    questions = [f"What is the capital of {name}?" for name in ("France", "Italy", "Spain")]
    alone = {
        (index, seed): pipe.generate(question, seed=run_seed(seed, f"q{index}")).text
        for index, question in enumerate(questions)
        for seed in range(3)
    }
    hot = {(i, s): runs["temperature=3.0", f"q{i}", s, 0].text for i, s in alone}
    assert hot == alone
    assert len(set(hot.values())) > 3  # They do draw.
    assert runs["base", "q0", 0, 0].text == "Paris"


def test_an_arm_without_chance_is_computed_once_and_recorded_for_each_seed(tmp_path):
    asked = read(tmp_path, PLAIN % 2 + HOT)
    assert {cell.arm: len(copies) for cell, copies in asked.computed} == {
        "base": 2,
        "temperature=3.0": 0,
    }
    assert len(asked.computed) == 4
    with Store(tmp_path / "out") as store:
        asked.run(store, LocalEngine())
        rows = list(store.rows())
    base = [row for row in rows if row["arm"] == "base" and row["item"] == "q0"]
    assert [row["seed"] for row in base] == [0, 1, 2]
    assert len({(row["text"], row["run_seed"], tuple(row["scores"].items())) for row in base}) == 1
    assert [row["copy_of"] for row in base] == [None, base[0]["id"], base[0]["id"]]
    assert all(row["copy_of"] is None for row in rows if row["arm"] != "base")


def test_arms_of_one_configuration_are_computed_once(tmp_path):
    asked = read(tmp_path, PLAIN % 2 + "matrix: {sampler: [[greedy], [draw]]}")
    assert [(cell.arm, [one.arm for one in copies]) for cell, copies in asked.computed] == [
        ("base", ["sampler=greedy"]),
        ("sampler=draw", []),
    ]


def test_a_step_of_chance_or_of_somebody_elses_is_asked_with_each_seed(tmp_path):
    text = (
        PLAIN % 1 + "seeds: [0, 1]\nmatrix: {sampler: [[xtc, greedy], [{top_h: 0.5}, draw], "
        "[{repetition_penalty: 1.1}, greedy]]}"
    )
    computed = read(tmp_path, text).computed
    assert {cell.arm.partition(":")[0]: len(copies) for cell, copies in computed} == {
        "base": 1,
        "sampler=xtc+greedy": 0,
        "sampler=top_h": 0,
        "sampler=repetition_penalty": 1,
    }


def test_an_item_that_fails_is_a_row_that_says_why_and_stops_nothing(tmp_path):
    runs = by_cell(
        run(
            tmp_path,
            "format: 1\ndata: {local/few: {count: 3, broken: [1]}}\nmetrics: [local/length]\n",
        )
    )
    failed = runs["base", "q1", 0, 0]
    assert "nowhere.png" in failed.error
    assert failed.text is None
    assert failed.scores == {}
    assert [runs["base", item, 0, 0].text for item in ("q0", "q2")] == ["Paris", "Madrid"]


@pytest.mark.parametrize(
    ("data", "words"),
    [("torn", "local/torn: OSError: the disk is gone"), ("loose", "local/loose gave a dict")],
)
def test_data_that_fail_end_the_ablation_and_are_named(data, words, tmp_path):
    with pytest.raises(PluginError, match=words):
        run(tmp_path, f"format: 1\ndata: local/{data}\nmetrics: [local/length]\n")


@pytest.mark.parametrize(
    ("metric", "words"),
    [
        ("local/fussy", "local/fussy: q1 is not to my taste"),
        ("local/endless", "local/endless: gave endless = inf"),
        ("local/faulty", "local/faulty: KeyError: 'q1'"),
        ("local/moody", "local/moody: gave q1, and for another item q0; the names are the same"),
    ],
)
def test_a_metric_that_fails_keeps_the_answer_and_says_why(tmp_path, metric, words):
    runs = by_cell(run(tmp_path, f"format: 1\ndata: {{local/few: 2}}\nmetrics: [{metric}]\n"))
    failed = runs["base", "q1", 0, 0]
    assert words in failed.error
    assert failed.text == "Rome"
    assert failed.scores == {}


def test_a_metric_that_fails_loses_its_own_score_and_no_other(tmp_path):
    text = (
        "format: 1\ndata: {local/few: 3}\nseeds: [0, 1]\n"
        "metrics: [local/fussy, local/length, local/faulty]\n"
    )
    runs = by_cell(run(tmp_path, text))
    assert runs["base", "q0", 0, 0].scores == {"taste": 1.0, "letters": 5.0, "found": 1.0}
    assert runs["base", "q1", 1, 0].scores == {"letters": 4.0}
    assert runs["base", "q1", 1, 0].error == (
        "local/fussy: q1 is not to my taste; local/faulty: KeyError: 'q1'"
    )
    assert runs["base", "q2", 0, 0].scores == {"taste": 1.0, "letters": 6.0}


def test_which_item_a_metric_fails_on_first_changes_no_name(tmp_path):
    text = "format: 1\ndata: {local/few: 2}\nmetrics: [{local/fussy: q0}, {local/picky: q1}]\n"
    results = run(tmp_path, text)
    assert [kind.name for kind in results.scores] == ["local/fussy.taste", "local/picky.taste"]
    runs = by_cell(results)
    assert runs["base", "q0", 0, 0].scores == {"local/picky.taste": 1.0}
    assert runs["base", "q1", 0, 0].scores == {"local/fussy.taste": 1.0}


def test_where_the_base_arms_answer_is_not_to_be_had_other_metrics_score(tmp_path):
    text = (
        "format: 1\nbase: sketch\ndata: {local/few: 1}\nmetrics: [local/as_base, local/length]\n"
        "include: [{name: other, set: {stop.max_new_tokens: 3}}]\n"
    )
    asked = read(tmp_path, text)
    recipe = asked._recipe(["other"])
    worker = recipe.open()
    worker._base_of = lambda task: (_ for _ in ()).throw(RuntimeError("the base is gone"))
    (item,) = asked.items()
    (outcome,) = worker.answer([Task("other", item, 0)])
    assert outcome.error == "local/as_base: RuntimeError: the base is gone"
    assert [score.kind.name for score in outcome.scores] == ["letters"]


def test_arms_that_differ_in_sampling_and_stop_rules_are_one_loaded_pipeline(tmp_path, monkeypatch):
    from triptych.workbench.runs import worker

    loaded = []
    make = worker.Pipeline
    monkeypatch.setattr(
        worker, "Pipeline", lambda spec, **given: loaded.append(spec) or make(spec, **given)
    )
    runs = by_cell(
        run(
            tmp_path,
            PLAIN % 2 + "matrix:\n  sampler: [[greedy], [{temperature: 0.1}, draw]]\n"
            "  stop.max_new_tokens: [1, 8]\n",
        )
    )
    assert len(loaded) == 1
    assert runs["base", "q1", 0, 0].text == "Rome"
    short = runs["sampler=greedy,max_new_tokens=1", "q1", 0, 0].text
    assert len(short) < 4
    assert runs["sampler=greedy,max_new_tokens=8", "q1", 0, 0].text == "Rome"


def test_a_picture_is_looked_at_once_by_all_arms_that_do_not_change_vision(tmp_path, graph_runs):
    text = """\
format: 1
data: {local/few: {count: 6, pictures: true}}
metrics: [local/length]
include:
  - {name: half, insert: {"after mrope": {token_norm: 0.5}}}
  - {name: no_deepstack, replace: {merge: {merge: {deepstack: []}}}}
  - {name: in_chunks, set: {session.chunk: 16}}
"""
    results = run(tmp_path, text)
    assert graph_runs["vision_encoder.onnx"] == 3  # As many as there are pictures.
    assert not [one.error for one in results.runs if one.error]
    question = "What color is it?"
    picture = next(iter(read(tmp_path, text).items())).request.images
    plain = triptych.load().generate(question, images=picture).text
    pruned = triptych.load(insert="after mrope: {token_norm: 0.5}")
    runs = by_cell(results)
    assert runs["base", "q0", 0, 0].text == plain
    assert runs["half", "q0", 0, 0].text == pruned.generate(question, images=picture).text


def test_an_arm_that_keeps_no_features_finds_none_of_others(tmp_path, graph_runs):
    text = """\
format: 1
data: {local/few: {count: 2, pictures: true}}
metrics: [local/length]
include: [{name: alone, set: {session.feature_cache: false}}]
"""
    run(tmp_path, text)
    assert graph_runs["vision_encoder.onnx"] > 1


def test_metrics_that_compare_with_the_base_arm_are_given_what_it_said_with_the_same_seed(
    tmp_path,
):
    text = (
        "format: 1\nbase: hot.yaml\ndata: {local/few: 3}\nmetrics: [local/as_base]\n"
        "include:\n  - {name: as_hot, set: {session.max_batch: 2}}\n"
        "  - {name: cold, set: {sampler: [greedy]}}\nseeds: [0, 1]\n"
    )
    hot = (triptych.load().spec.source).read_text(encoding="utf-8")
    hot = hot.replace("format: 1", "format: 1\nroot: sketch").replace("  - greedy", "  - draw")
    (tmp_path / "hot.yaml").write_text(hot.replace("- draw", "- temperature: 3.0\n  - draw"))
    runs = run(tmp_path, text).runs
    assert len(runs) == 3 * 3 * 2
    same = {}
    for one in runs:
        same.setdefault(one.arm, []).append(one.scores["same"])
    assert same["base"] == same["as_hot"] == [1.0] * 6
    assert 0.0 in same["cold"]


def test_what_the_base_arm_said_before_a_stop_is_taken_from_the_database(tmp_path):
    text = (
        "format: 1\ndata: {local/few: 2}\nmetrics: [local/as_base]\nmatrix: {sampler: [[draw]]}\n"
    )
    asked = read(tmp_path, text)
    with Store(tmp_path / "out") as store:
        asked.run(store, LocalEngine())
        store._db.execute("DELETE FROM scores")
        store._db.execute("DELETE FROM runs WHERE arm <> 'base'")
        tasks = list(asked._tasks(store, asked.groups[0], embed=False))
    pipe = triptych.load()
    said = [pipe.generate(task.item.request).tokens for task in tasks]
    assert [task.base_tokens for task in tasks] == said


def test_arms_that_are_timed_have_a_process_each_with_nothing_kept_between_requests(tmp_path):
    text = """\
format: 1
data: {local/few: 3}
metrics: [local/process, local/length]
include: [{name: other, set: {session.max_batch: 2}}]
repeats: 2
"""
    results = run(tmp_path, text)
    processes = {}
    for one in results.runs:
        assert one.error is None
        assert one.scores["cached"] == 0
        processes.setdefault(one.arm, set()).add(one.scores["process"])
    assert all(len(pids) == 1 for pids in processes.values())
    assert len(set.union({os.getpid()}, *processes.values())) == 3
    assert len(results.runs) == 2 * 3 * 2
    kinds = {
        kind.name: (kind.metric, kind.measures, kind.lower_is_better) for kind in results.scores
    }
    assert kinds["seconds"] == ("local/process", "time", True)
    assert kinds["letters"] == ("local/length", "quality", False)
    assert "feature_cache: false" in results.arms[0].config
    assert "caches are off" in results.about["sharing"]


def test_arms_that_are_timed_take_turns_and_none_is_always_the_first(tmp_path):
    text = (
        "format: 1\ndata: {local/few: 3}\nmetrics: [local/process]\n"
        "matrix: {sampler.temperature: [0.5, 1.0]}\n"
    )
    asked = read(tmp_path, text)
    with Store(tmp_path / "out") as store:
        asked._store_questions(store)
        order = [task.arm for task in asked._tasks(store, asked.groups[0], embed=False)]
    one, two, three = "base", "temperature=0.5", "temperature=1.0"
    assert order == [one, two, three, two, three, one, three, one, two]


def test_a_cache_that_the_file_asks_for_stays_on_and_the_report_says_so(tmp_path):
    text = (
        "format: 1\ndata: {local/few: 1}\nmetrics: [local/process]\n"
        "include: [{name: kept, set: {session.prefix_cache: true}}]\n"
    )
    asked = read(tmp_path, text)
    kept = [(plan.name, plan.spec.session.prefix_cache) for plan in asked.plans]
    assert kept == [("base", False), ("kept", True)]
    assert asked._about["sharing"].endswith("caches between requests are on in kept")


def test_a_limit_on_the_command_line_takes_the_place_of_the_files(tmp_path):
    text = PLAIN % 5 + "limit: 3\n"
    assert len(list(read(tmp_path, text).items())) == 3
    assert len(list(read(tmp_path, text, limit=4).items())) == 4


def test_questions_are_kept_with_small_pictures_of_what_was_shown(tmp_path):
    from io import BytesIO

    from PIL import Image

    results = run(
        tmp_path,
        "format: 1\ndata: {local/few: {count: 2, pictures: true}}\nmetrics: [local/length]\n",
    )
    first, second = results.questions
    assert (first.id, first.question, first.reference) == ("q0", "What color is it?", "France")
    assert (first.cluster, second.cluster, first.task) == ("picture 0", "picture 0", "capital")
    picture = Image.open(BytesIO(first.images[0]))
    assert picture.size == (64, 64)
    assert picture.convert("RGB").getpixel((3, 3)) == (0, 200, 90)


def test_a_pipeline_is_loaded_only_for_arms_of_which_something_is_missing(tmp_path, monkeypatch):
    from triptych.workbench.runs import worker

    text = PLAIN % 2 + "include: [{name: other, set: {session.max_batch: 2}}]\n"
    run(tmp_path, text)
    loaded = []
    make = worker.Pipeline
    monkeypatch.setattr(
        worker, "Pipeline", lambda spec, **given: loaded.append(spec) or make(spec, **given)
    )
    asked = read(tmp_path, text)
    with Store(tmp_path / "out") as store:
        asked.run(store, LocalEngine())
        assert not loaded
        store._db.execute("DELETE FROM scores")
        store._db.execute("DELETE FROM runs WHERE arm = 'other'")
        asked.run(store, LocalEngine())
    assert [spec.session.max_batch for spec in loaded] == [2]


@pytest.mark.parametrize("metric", ["local/length", "local/process"])
def test_a_pipeline_that_cannot_be_loaded_ends_the_ablation_and_no_item_is_to_blame(
    tmp_path, metric
):
    from triptych.core.config.locate import builtin
    from triptych.core.errors import TriptychError

    model = tmp_path / "model"
    model.mkdir()
    for path in builtin("sketch").iterdir():
        (model / path.name).write_bytes(path.read_bytes())
    asked = read(tmp_path, (PLAIN % 2).replace("local/length", metric) + "base: model")
    (model / "decoder.onnx").write_bytes((model / "decoder.onnx").read_bytes()[:5000])
    with Store(tmp_path / "out") as store:
        with pytest.raises(TriptychError, match=r"^arm base: "):
            asked.run(store, LocalEngine())
        assert store.count("runs") == 0

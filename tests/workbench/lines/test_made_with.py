"""What an output was made with."""

import json

import pytest

from tests import fakes
from triptych import InputError
from triptych.core.components.catalog import Catalog
from triptych.core.config.edits import Override
from triptych.core.config.load import load_spec
from triptych.workbench.lines.made_with import MadeWith, pipeline_facts, plugin_facts
from triptych.workbench.lines.source import Fingerprint


def sketch(**overrides):
    changes = [Override(address.replace("__", "."), value) for address, value in overrides.items()]
    return MadeWith(pipeline_facts(load_spec("sketch", catalog=Catalog([]), overrides=changes)))


def test_it_is_the_same_when_it_is_read_again(tmp_path):
    made_with = MadeWith(
        {"stages": ["a", {"b": {"c": None}}]},
        {"my.py": "12"},
        {"stop": ["x"]},
        7,
        Fingerprint(3, "abc"),
    )
    made_with.write(tmp_path / "beside.json")
    assert MadeWith.read(tmp_path / "beside.json") == made_with
    assert [path.name for path in tmp_path.iterdir()] == ["beside.json"]


def test_there_is_none_where_nothing_was_written(tmp_path):
    assert MadeWith.read(tmp_path / "beside.json") is None


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"format": "triptych-batch", "format_version": 9}']
)
def test_another_file_in_its_place_is_refused(tmp_path, content):
    (tmp_path / "beside.json").write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=r"beside.json: is not what this triptych batch writes"):
        MadeWith.read(tmp_path / "beside.json")


def test_the_first_difference_is_named_with_both_values():
    hot = sketch(stop__max_new_tokens=7)
    assert sketch().difference(sketch()) is None
    assert sketch().difference(hot) == "pipeline.stop.max_new_tokens was 100 and is 7"


def test_a_pipeline_that_is_run_in_another_way_gives_the_same_answers():
    assert sketch().difference(sketch(session__max_batch=2, session__threads=1)) is None
    assert sketch().difference(sketch(session__max_context=64)) is not None


def test_a_pipeline_may_lie_elsewhere(tmp_path):
    facts = []
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        spec = load_spec(fakes.pipeline_file(tmp_path / name), catalog=Catalog([fakes.__file__]))
        facts.append(MadeWith(pipeline_facts(spec)))
    assert facts[0].difference(facts[1]) is None


def test_files_count_by_what_they_hold(tmp_path):
    plugin = tmp_path / "my.py"
    plugin.write_text("a = 1", encoding="utf-8")
    before = MadeWith({}, plugin_facts([plugin]))
    plugin.write_text("a = 2", encoding="utf-8")
    assert before.difference(MadeWith({}, plugin_facts([plugin]))).startswith("plugins.")


def test_it_says_what_was_asked_of_the_command():
    assert MadeWith({}, seed=1).difference(MadeWith({}, seed=2)) == "seed was 1 and is 2"
    found = MadeWith({}, settings={"stop": ["a"]}).difference(MadeWith({}))
    assert found == 'settings.stop was ["a"] and is null'


def test_the_digests_of_the_graphs_are_in_it(tmp_path):
    sketch().write(tmp_path / "beside.json")
    document = json.loads((tmp_path / "beside.json").read_text(encoding="utf-8"))
    assert "decoder.onnx" in document["pipeline"]["digests"]

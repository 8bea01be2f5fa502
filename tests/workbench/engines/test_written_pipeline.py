"""A pipeline as text that can be sent anywhere."""

import pickle

from tests import fakes
from triptych.core.components.catalog import Catalog
from triptych.core.config.edits import Override
from triptych.core.config.load import load_spec
from triptych.core.pipeline import Pipeline
from triptych.workbench.engines.written_pipeline import WrittenPipeline


def test_it_loads_as_the_pipeline_that_it_was_written_of(tmp_path, monkeypatch):
    spec = load_spec(
        fakes.pipeline_file(tmp_path),
        catalog=Catalog([fakes.__file__]),
        overrides=[Override("stop.max_new_tokens", 7)],
    )
    written = pickle.loads(pickle.dumps(WrittenPipeline.of(spec, [fakes.__file__])))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    found = written.load()
    assert found.spec.stop.max_new_tokens == 7
    assert found.generate("1 2 3").tokens == Pipeline(spec).generate("1 2 3").tokens


def test_a_built_in_model_keeps_its_name_so_that_it_is_found_elsewhere():
    spec = load_spec("sketch", catalog=Catalog([]))
    assert "root: sketch" in WrittenPipeline.of(spec).config

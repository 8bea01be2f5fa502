"""What several pipelines of one process have in common."""

from dataclasses import replace

import numpy as np
import pytest

from triptych.core.assembly.assembly import assemble
from triptych.core.assembly.shared import Shared
from triptych.core.components.catalog import Catalog
from triptych.core.config.load import load_spec
from triptych.core.graphs.graph import Graph
from triptych.core.pipeline import Pipeline

PICTURE = np.full((64, 64, 3), (200, 30, 30), np.uint8)
QUESTION = "What color is it?"


def sharing(shared, **changes):
    spec = load_spec("sketch", catalog=Catalog(), **changes)
    return Pipeline(spec, assembly=replace(assemble(spec), shared=shared))


def graph(pipeline, label):
    return next(one.stage.graph for one in pipeline.wiring.stages if one.label == label)


@pytest.fixture
def looks(monkeypatch):
    """How often pictures were looked at."""
    found = []
    run = Graph.run

    def counted(self, feeds, outputs):
        if self.path.name == "vision_encoder.onnx":
            found.append(self)
        return run(self, feeds, outputs)

    monkeypatch.setattr(Graph, "run", counted)
    return found


def test_a_graph_of_the_same_file_and_options_is_opened_once():
    shared = Shared()
    one, other = sharing(shared), sharing(shared, replace={"merge": {"merge": {"deepstack": []}}})
    assert graph(one, "decoder").session is graph(other, "decoder").session
    alone = sharing(Shared())
    assert graph(alone, "decoder").session is not graph(one, "decoder").session


def test_a_graph_with_other_options_is_opened_by_itself():
    shared = Shared()
    one, other = sharing(shared), sharing(shared, overrides={"session.pool": "own"})
    assert graph(one, "decoder").session is not graph(other, "decoder").session


def test_pipelines_with_one_session_answer_in_turns_as_they_do_alone():
    shared = Shared()
    changes = {"overrides": {"sampler.temperature": 2.0}}
    pipelines = [sharing(shared), sharing(shared, **changes)]
    texts = [[], []]
    streams = [
        pipe.stream("What is the capital of Peru?", images=[PICTURE], seed=3) for pipe in pipelines
    ]
    running = [True, True]
    while any(running):
        for index, stream in enumerate(streams):
            piece = next(stream, None)
            running[index] = piece is not None
            if piece is not None:
                texts[index].append(piece.text)
    alone = [sharing(Shared()), sharing(Shared(), **changes)]
    expected = [
        pipe.generate("What is the capital of Peru?", images=[PICTURE], seed=3).text
        for pipe in alone
    ]
    assert ["".join(text) for text in texts] == expected


def test_a_picture_is_looked_at_once_whatever_the_stage_is_called(looks):
    shared = Shared()
    renamed = {"vision_encoder": {"vision_encoder": "vision_encoder.onnx"}}
    one = sharing(shared)
    other = sharing(shared, replace=renamed, overrides={"session.chunk": 16})
    assert one.generate(QUESTION, images=[PICTURE]).text
    assert other.generate(QUESTION, images=[PICTURE]).text
    assert len(looks) == 1
    sharing(Shared()).generate(QUESTION, images=[PICTURE])
    assert len(looks) == 2


def test_a_pipeline_that_keeps_no_features_looks_for_itself(looks):
    shared = Shared()
    sharing(shared).generate(QUESTION, images=[PICTURE])
    sharing(shared, overrides={"session.feature_cache": False}).generate(QUESTION, images=[PICTURE])
    assert len(looks) == 2


def test_another_file_under_the_same_settings_is_another_stage(looks, tmp_path):
    from triptych.core.config.locate import builtin

    for path in builtin("sketch").iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    shared = Shared()
    sharing(shared).generate(QUESTION, images=[PICTURE])
    spec = load_spec(tmp_path, catalog=Catalog())
    copy = Pipeline(spec, assembly=replace(assemble(spec), shared=shared))
    copy.generate(QUESTION, images=[PICTURE])
    assert len(looks) == 2

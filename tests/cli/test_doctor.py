"""`triptych doctor`, with a model that stands in for the built-in one."""

import json
from types import SimpleNamespace

import onnxruntime
import pytest

import triptych as package
from triptych.core import pipeline as pipeline_module


@pytest.fixture
def model(monkeypatch):
    """Says what the built-in model answers; an exception is raised when it is loaded."""

    def stand_in(answer):
        def load(name):
            assert name == "sketch"
            if isinstance(answer, Exception):
                raise answer
            return SimpleNamespace(generate=lambda *_, **__: SimpleNamespace(text=answer))

        monkeypatch.setattr(pipeline_module, "load", load)

    return stand_in


def test_a_sound_installation(triptych, model):
    model("Paris.")
    done = triptych("doctor")
    assert (done.code, done.err) == (0, "")
    lines = {line.split()[1]: line.split(maxsplit=2) for line in done.out.splitlines()}
    assert lines["triptych"] == ["ok", "triptych", package.__version__]
    assert lines["onnxruntime"][2] == onnxruntime.__version__
    assert "cpu" in lines["providers"][2]
    assert lines["threads"][2].split()[0].isdigit()
    assert lines["model"][2].startswith("What is the capital of France? Paris. (loaded in ")
    assert lines["plugins"][2].split()[1:] == ["built-in", "components"]
    assert not any(line.startswith("failed") for line in done.out.splitlines())


def test_the_graph_cache_is_told(triptych, model, monkeypatch, tmp_path):
    model("Paris")
    monkeypatch.setenv("TRIPTYCH_CACHE", str(tmp_path))
    assert f"0 graphs, 0.0 of 256 MiB, in {tmp_path / 'graphs'}\n" in triptych("doctor").out
    (tmp_path / "graphs").chmod(0o777)
    assert "not used, starts take longer: others may write to" in triptych("doctor").out
    monkeypatch.setenv("TRIPTYCH_CACHE", "off")
    assert "graph cache   off (TRIPTYCH_CACHE)\n" in triptych("doctor").out


def test_json_has_every_finding(triptych, model):
    model("Paris")
    found = json.loads(triptych("doctor", "--json").out)
    assert found["ok"] is True
    assert {"topic": "triptych", "state": "ok", "text": package.__version__} in found["findings"]


def test_a_model_that_does_not_load_is_code_1(triptych, model):
    model(OSError("no disk"))
    done = triptych("doctor")
    assert done.code == 1
    assert "failed  model         sketch: no disk\n" in done.out


def test_a_wrong_answer_is_code_1(triptych, model):
    model("Nairobi")
    done = triptych("doctor", "--json")
    assert done.code == 1
    found = json.loads(done.out)
    assert found["ok"] is False
    (failed,) = [finding for finding in found["findings"] if finding["state"] == "failed"]
    assert failed["topic"] == "model"
    assert failed["text"].startswith("What is the capital of France? 'Nairobi', not 'Paris' (")


def test_faults_of_plugins_are_notes(triptych, model, monkeypatch):
    from triptych.core.components.catalog import Catalog
    from triptych.core.components.entry import Origin, PluginFault

    everything = Catalog.everything
    fault = PluginFault("cannot be used: it is broken", origin=Origin("acme", "acme-kit", "1.0"))
    monkeypatch.setattr(Catalog, "everything", lambda self: (everything(self)[0], [fault]))
    model("Paris")
    done = triptych("doctor")
    assert done.code == 0
    assert (
        "note    plugins       plugin 'acme' (acme-kit 1.0) cannot be used: it is broken\n"
        in done.out
    )


def test_torch_is_not_needed(triptych, model, monkeypatch):
    import importlib.metadata

    version = importlib.metadata.version

    def without_torch(name):
        if name == "torch":
            raise importlib.metadata.PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr("importlib.metadata.version", without_torch)
    model("Paris")
    done = triptych("doctor")
    assert done.code == 0
    (line,) = [line for line in done.out.splitlines() if " export " in line]
    assert line.startswith("note")
    assert line.endswith("; without torch; running needs none: pip install 'triptych[export]'")


def test_where_there_is_a_gpu_it_says_how_to_see_what_stays_on_the_cpu(
    triptych, model, monkeypatch
):
    model("Paris")
    both = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: both)
    [line] = [line for line in triptych("doctor").out.splitlines() if " providers " in line]
    assert line.startswith("note ")
    assert "triptych check PIPELINE --set 'session.providers=[cuda, cpu]'" in line

"""The study of sketch's parts: its sweeps fit together, and its reports are of their arms."""

import importlib.util
from pathlib import Path

import pytest

from triptych.core.config.reader import read_yaml
from triptych.workbench.runs.ablation import Ablation

PARTS = Path(__file__).parents[2] / "examples" / "studies" / "parts"
SWEEPS = sorted(PARTS.glob("*.yaml"))
EXPORTED = PARTS / "precision.yaml"
"""Its pipelines are exported first."""


@pytest.fixture
def study():
    spec = importlib.util.spec_from_file_location("study", PARTS / "study.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def read(sweep):
    return read_yaml(sweep.read_bytes(), str(sweep)).plain()


@pytest.mark.parametrize(
    "sweep", [sweep for sweep in SWEEPS if sweep != EXPORTED], ids=lambda path: path.stem
)
def test_a_sweep_fits_together(sweep):
    asked = Ablation.read(sweep)
    assert len(asked.plans) == 1 + len(read(sweep)["include"])
    assert next(asked.items()).reference


@pytest.mark.parametrize("sweep", SWEEPS, ids=lambda path: path.stem)
def test_the_report_beside_a_sweep_is_of_its_arms(sweep):
    text = sweep.with_suffix(".md").read_text(encoding="utf-8")
    for arm in read(sweep)["include"]:
        assert f"| {arm['name']} | " in text


def test_one_command_runs_every_sweep_and_keeps_its_report(study, monkeypatch, tmp_path):
    def run(verb, *words):
        (Path(words[-1])).mkdir(parents=True)
        (Path(words[-1]) / "report.md").write_text(f"{verb} {words[0].name}", encoding="utf-8")

    monkeypatch.setattr(study, "triptych", run)
    monkeypatch.setattr(study, "export_all", lambda: None)
    monkeypatch.setattr(study, "HERE", tmp_path)
    monkeypatch.setattr(study, "BUILD", tmp_path / "build")
    study.main(study.SWEEPS)
    assert sorted(study.SWEEPS) == [sweep.stem for sweep in SWEEPS]
    for name in study.SWEEPS:
        report = (tmp_path / f"{name}.md").read_text(encoding="utf-8")
        assert report == f"ablate {name}.yaml"
    with pytest.raises(SystemExit, match="there is no study 'deepstak'"):
        study.main(["deepstak"])


def test_what_is_compared_by_precision_is_what_is_exported(study, monkeypatch, tmp_path):
    made = []
    monkeypatch.setattr(study, "BUILD", tmp_path / "build")
    monkeypatch.setattr(study, "export", lambda name, *flags: made.append(f"build/{name}"))
    study.export_all()
    sweep = read(EXPORTED)
    assert sorted(made) == sorted([sweep["base"], *(arm["base"] for arm in sweep["include"])])

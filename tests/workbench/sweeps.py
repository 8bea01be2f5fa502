"""Sweep files for tests, and what came of them."""

from pathlib import Path

from triptych.workbench.engines.local import LocalEngine
from triptych.workbench.runs.ablation import Ablation
from triptych.workbench.runs.store import Store

MADE_UP = Path(__file__).with_name("made_up.py")


def write(folder, text):
    """A sweep file with that text."""
    file = folder / "sweep.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def read(folder, text, **options):
    """The ablation that a text asks for."""
    return Ablation.read(write(folder, text), plugins=[MADE_UP], **options)


def run(folder, text, **options):
    """Its results."""
    with Store(folder / "out") as store:
        read(folder, text, **options).run(store, LocalEngine())
        return store.results()


def by_cell(results):
    """The runs by arm, item and seed."""
    return {(one.arm, one.item, one.seed, one.repeat): one for one in results.runs}

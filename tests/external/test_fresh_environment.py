"""New plugins and the example packages in an environment of their own, with what an index gives.

Takes minutes and asks the index, so CI alone runs it.
"""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
KINDS = ("sampler", "stage", "strategy", "processor", "cache", "dataset", "metric")
"""All but the exporter, whose extra brings torch; tests/end_to_end installs that one beside us."""
EXAMPLES = ("curves", "phrasebook", "thinning")

pytestmark = pytest.mark.external


def run(*command, cwd):
    done = subprocess.run(
        [str(word) for word in command], cwd=cwd, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_every_kind_installs_and_passes_its_own_tests(tmp_path):
    run(sys.executable, "-m", "venv", tmp_path / "venv", cwd=tmp_path)
    python = tmp_path / "venv" / "bin" / "python"
    install = (python, "-m", "pip", "install", "--quiet", "--constraint", ROOT / "constraints.txt")
    run(*install, ROOT, cwd=tmp_path)
    for kind in KINDS:
        run(python, "-m", "triptych", "new-plugin", f"acme-{kind}", "--kind", kind, cwd=tmp_path)
    folders = [tmp_path / f"acme-{kind}" for kind in KINDS]
    folders += [ROOT / "examples" / "plugins" / name for name in EXAMPLES]
    run(*install, *(f"{folder}[test]" for folder in folders), cwd=tmp_path)
    tests = [folder / "tests" for folder in folders]
    said = run(python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests, cwd=tmp_path)
    assert "failed" not in said
    assert "faults" in run(python, "-m", "triptych", "plugins", "--json", cwd=tmp_path)

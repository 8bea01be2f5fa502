"""The example packages, as third parties ship them: installed, tested, and run by the README."""

import json
import re
import shlex
from pathlib import Path

import pytest

from tests.end_to_end.sites import install

ROOT = Path(__file__).parents[2]
PACKAGES = sorted(path.parent for path in (ROOT / "examples" / "plugins").glob("*/pyproject.toml"))
OFFERS = {
    "curves/quadratic": "sampler",
    "llava/clip": "processor",
    "llava/count": "stage",
    "llava/llava": "exporter",
    "phrasebook/phrases": "strategy",
    "thinning/background": "stage",
}


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    return install(tmp_path_factory.mktemp("site"), PACKAGES)


def test_all_of_them_are_found_and_none_has_a_fault(site):
    done = site.triptych("plugins", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    assert found["faults"] == []
    named = {one["name"]: one["kind"] for one in found["components"]}
    assert {name: kind for name, kind in named.items() if "/" in name} == OFFERS


@pytest.mark.parametrize("package", PACKAGES, ids=lambda path: path.name)
def test_a_package_passes_its_own_tests(site, package):
    done = site.pytest(package / "tests", "-W", "error", cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    "package",
    [path for path in PACKAGES if "triptych run" in (path / "README.md").read_text()],
    ids=lambda path: path.name,
)
def test_the_command_of_its_readme_answers(site, package):
    text = (package / "README.md").read_text(encoding="utf-8")
    [block] = re.findall(r"```sh\n(triptych run .*?)```", text, re.DOTALL)
    done = site.triptych(*shlex.split(block.replace("\\\n", " "))[1:], cwd=ROOT)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip()

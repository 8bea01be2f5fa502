"""What `triptych new-plugin` writes installs as it is, passes its own tests, and is found."""

import json

import pytest

from tests.end_to_end.sites import Site, install
from triptych.cli.main import main
from triptych.cli.plugin_files import TEMPLATES


@pytest.fixture(scope="module")
def packages(tmp_path_factory):
    """A package of each kind, by its folder's name, as it was written."""
    root = tmp_path_factory.mktemp("packages")
    for kind in TEMPLATES:
        assert main(["new-plugin", str(root / f"acme-{kind}"), "--kind", kind]) == 0
    return root


@pytest.fixture(scope="module")
def site(packages, tmp_path_factory) -> Site:
    return install(tmp_path_factory.mktemp("site"), sorted(packages.iterdir()))


def test_every_kind_passes_its_own_tests(site, packages):
    done = site.pytest(*sorted(packages.glob("*/tests")), "-W", "error")
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout
    assert "failed" not in done.stdout


def test_every_kind_is_found_under_its_owners_name(site):
    done = site.triptych("plugins", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    mine = {one["name"]: one["kind"] for one in found["components"] if one["owner"] != "triptych"}
    assert mine == {f"acme-{kind}/{one.name}": kind for kind, one in TEMPLATES.items()}
    assert found["faults"] == []


def test_a_test_fails_when_the_component_breaks_a_promise(site, packages, tmp_path):
    source = (site.folder / "triptych_acme_sampler" / "near_best.py").read_text(encoding="utf-8")
    broken = tmp_path / "triptych_acme_sampler"
    broken.mkdir()
    (broken / "__init__.py").touch()
    masked = source.replace(">= candidates.logits.max() - self.width", "> self.width")
    assert masked != source
    (broken / "near_best.py").write_text(masked, encoding="utf-8")
    done = Site(tmp_path).pytest(packages / "acme-sampler" / "tests")
    assert done.returncode == 1
    assert "left no candidate; a warp keeps at least one" in done.stdout
    assert "never_empty" in done.stdout

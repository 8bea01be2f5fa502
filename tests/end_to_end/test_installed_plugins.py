"""Plugins from real installed distributions, good and broken, as a person meets them."""

import json
import os
import shutil
import subprocess
import sys

import pytest
from ruamel.yaml import YAML

from tests.core.environments import SOURCE, install, wheel

COMMAND = "import sys; from triptych.cli.main import main; sys.exit(main(sys.argv[1:]))"
MANIFEST = """
    import triptych
    from pydantic import Field

    @triptych.hookimpl
    def samplers():
        return [triptych.Component("min_p", "{module}:MinP", "Keep likely tokens.", main="p")]

    class MinP:
        class Settings(triptych.Settings):
            p: float = Field(gt=0, le=1)

        keeps_winner = True

        def __init__(self, settings):
            self.p = settings.p

        def __call__(self, candidates, context):
            {body}
"""
KEEP = "return candidates.keep(candidates.logits == candidates.logits.max())"


@pytest.fixture(scope="module")
def triptych(tmp_path_factory, tiny_pipeline):
    """Runs the command line where good and broken plugins are installed, in a pipeline's folder."""
    wheels = tmp_path_factory.mktemp("wheels")
    sources = {
        "acme": MANIFEST.format(module="acme", body=KEEP),
        "thrower": MANIFEST.format(module="thrower", body="return candidates.logits / nothing"),
        "liar": MANIFEST.format(module="liar", body="return None"),
        "lost": "import a_package_that_nobody_has\n",
        "blank": "import triptych\n@triptych.hookimpl\ndef samplers(): return 3\n",
    }
    environment = install(
        tmp_path_factory.mktemp("site"),
        [
            wheel(wheels, f"{owner}-plugin", "1.0", {f"{owner}.py": source}, owner, owner)
            for owner, source in sources.items()
        ],
    )
    folder = tmp_path_factory.mktemp("work") / "tiny"
    shutil.copytree(tiny_pipeline, folder)

    def run(*arguments, sampler=None):
        if sampler is not None:
            yaml = YAML()
            pipeline = yaml.load(folder / "pipeline.yaml")
            yaml.dump({**pipeline, "sampler": sampler}, folder / "changed.yaml")
        return subprocess.run(
            [sys.executable, "-c", COMMAND, *arguments],
            cwd=folder,
            env={
                "PYTHONPATH": os.pathsep.join([str(environment.site), SOURCE]),
                "OMP_NUM_THREADS": "1",
            },
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )

    return run


ASK = ("--text", "hello", "--max-new-tokens", "8", "--seed", "1", "--json")


def test_broken_plugins_do_not_touch_a_pipeline_that_does_not_name_them(triptych):
    done = triptych("run", "pipeline.yaml", *ASK)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(json.loads(done.stdout)["tokens"]) == 8


def test_a_plugin_that_keeps_the_winner_alone_makes_drawing_greedy(triptych):
    greedy = triptych("run", "pipeline.yaml", *ASK)
    drawn = triptych("run", "changed.yaml", *ASK, sampler=[{"acme/min_p": 0.5}, "draw"])
    assert (drawn.returncode, drawn.stderr) == (0, "")
    assert json.loads(drawn.stdout)["tokens"] == json.loads(greedy.stdout)["tokens"]


@pytest.mark.parametrize(
    ("sampler", "code", "message"),
    [
        (
            [{"thrower/min_p": 0.5}, "draw"],
            1,
            "error: sampler.thrower/min_p (thrower:MinP) raised NameError: name 'nothing' is not "
            "defined.\n",
        ),
        (
            [{"liar/min_p": 0.5}, "draw"],
            1,
            "error: sampler.liar/min_p (liar:MinP) returned NoneType instead of Candidates.\n",
        ),
        (
            [{"lost/min_p": 0.5}, "draw"],
            2,
            "error: changed.yaml:LINE: sampler.lost/min_p: plugin 'lost' (lost-plugin 1.0) cannot "
            "be used: importing lost raised ModuleNotFoundError: No module named "
            "'a_package_that_nobody_has'\n",
        ),
        (
            [{"blank/min_p": 0.5}, "draw"],
            2,
            "error: changed.yaml:LINE: sampler.blank/min_p: plugin 'blank' (blank-plugin 1.0) has "
            "a bad manifest: samplers() returned int, not a list of Component\n",
        ),
        (
            [{"acme/min_p": 2}, "draw"],
            2,
            "error: changed.yaml:LINE: sampler.acme/min_p.p: 2 is not 1 or less\n",
        ),
        (
            [{"acme/min_q": 0.5}, "draw"],
            2,
            "error: changed.yaml:LINE: sampler.acme/min_q: there is no sampler 'acme/min_q'\n"
            "  did you mean 'acme/min_p'?\n"
            "  known: acme/min_p\n",
        ),
    ],
)
def test_a_fault_is_one_message_without_a_traceback(triptych, sampler, code, message):
    done = triptych("run", "changed.yaml", *ASK, sampler=sampler)
    place = done.stderr.partition("changed.yaml:")[2].split(": ")[0]
    assert (done.returncode, done.stderr) == (code, message.replace("LINE", place))
    assert done.stdout == ""


def test_the_list_of_plugins_names_the_broken_and_goes_on(triptych):
    done = triptych("plugins", "--json")
    assert done.returncode == 0
    found = json.loads(done.stdout)
    names = {component["name"]: component["distribution"] for component in found["components"]}
    assert names["acme/min_p"] == "acme-plugin"
    assert names["top_p"] == "triptych"
    assert [fault["owner"] for fault in found["faults"]] == ["blank", "lost"]
    assert done.stderr.count("a_package_that_nobody_has") == 1
    assert "Traceback" not in done.stderr


def test_help_does_not_read_plugins(triptych):
    done = triptych("--help")
    assert (done.returncode, done.stderr) == (0, "")

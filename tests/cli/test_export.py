"""`triptych export`."""

import json
import subprocess
import sys

import pytest

from triptych.export.output import OutputError


def test_a_checkpoint_becomes_a_pipeline_that_runs(triptych, tiny_checkpoint, in_folder):
    done = triptych("export", tiny_checkpoint, "out", "--precision=fp16")
    assert (done.code, done.err) == (0, "")
    assert done.out == (
        "out: exported checkpoint with fp16 weights\n"
        "  try it:  triptych run out --text 'Hello'\n"
        f"  check:   triptych verify out --against {tiny_checkpoint}\n"
    )
    assert json.loads((in_folder / "out" / "export.json").read_text())["precision"] == "fp16"
    assert triptych("run", "out", "--text=Hello", "--max-new-tokens=2").code == 0


def test_a_recipe_says_how_each_weight_is_stored(triptych, tiny_checkpoint, in_folder):
    recipe = "format: 1\ndefault: int8\nweights: {'*.layers.0.*': int4}\n"
    (in_folder / "mixed.yaml").write_text(recipe)
    done = triptych("export", tiny_checkpoint, "out", "--recipe=mixed.yaml")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith(
        "out: exported checkpoint with mixed weights, keys and values in int8\n"
    )
    record = json.loads((in_folder / "out" / "export.json").read_text())
    assert record["precision"] == "mixed"
    assert record["recipe"]["weights"] == {"*.layers.0.*": {"precision": "int4"}}
    assert triptych("run", "out", "--text=Hello", "--max-new-tokens=2").code == 0


def test_a_recipe_with_a_mistake_names_its_place(triptych, tiny_checkpoint, in_folder):
    (in_folder / "mixed.yaml").write_text(
        "format: 1\ndefault: int8\nweights: {'*.layer.*': int4}\n"
    )
    done = triptych("export", tiny_checkpoint, "out", "--recipe=mixed.yaml")
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(
        "error: mixed.yaml:3:11: weights.*.layer.*: no weight of the checkpoint has a name of "
        "this form\n"
    )


def test_a_precision_and_a_recipe_are_one_too_many(triptych, tiny_checkpoint):
    done = triptych("export", tiny_checkpoint, "out", "--recipe=a.yaml", "--precision=int8")
    assert (done.code, done.out) == (2, "")
    assert done.err == "error: --precision and --recipe say the same in two ways; give one\n"


def test_the_family_may_be_named(triptych, tiny_checkpoint, in_folder):
    assert triptych("export", tiny_checkpoint, "out", "--family=qwen3_vl").code == 0


@pytest.mark.parametrize(
    ("flags", "start"),
    [
        (["--precision=fp8"], "error: No precision 'fp8'; there is fp32, fp16"),
        (
            ["--family=qwen3_vll"],
            "error: there is no exporter 'qwen3_vll'\n  did you mean 'qwen3_vl'?",
        ),
    ],
)
def test_what_the_exporter_refuses_is_one_message_and_the_code_2(
    triptych, tiny_checkpoint, in_folder, flags, start
):
    done = triptych("export", tiny_checkpoint, "out", *flags)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(start)
    assert list(in_folder.iterdir()) == []


def test_a_folder_with_other_things_is_left_alone(triptych, tiny_checkpoint, in_folder):
    (in_folder / "mine.txt").touch()
    done = triptych("export", tiny_checkpoint, in_folder)
    assert done.code == OutputError.exit_code == 2
    assert "this folder holds other things than an export" in done.err
    assert [path.name for path in in_folder.iterdir()] == ["mine.txt"]


def test_a_folder_that_is_no_checkpoint(triptych, in_folder):
    done = triptych("export", in_folder, "out")
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("error: ")
    assert "config.json" in done.err


@pytest.mark.parametrize(
    ("verb", "package", "doing"),
    [("export", "onnx_ir", "Exporting"), ("verify", "torch", "Comparing an export")],
)
def test_without_the_extra_it_says_what_to_install(
    tiny_checkpoint, tiny_pipeline, verb, package, doing
):
    script = (
        f"import sys; sys.modules[{package!r}] = None\n"
        "from triptych.cli.main import main; sys.exit(main(sys.argv[1:]))"
    )
    paths = {
        "export": [tiny_checkpoint, tiny_pipeline],
        "verify": [tiny_pipeline, "--against", tiny_checkpoint],
    }[verb]
    done = subprocess.run(
        [sys.executable, "-c", script, verb, *map(str, paths)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"error: {doing} ")
    assert done.stderr.endswith(
        f" needs {package}, which is not installed: pip install 'triptych[export]'.\n"
    )

"""`triptych bench` on the built-in model, with sizes that take no time."""

import json

import pytest

QUICK = ("--repeat", 1, "--restarts", 1, "--new-tokens", 2, "--threads", 1)


def test_the_built_in_model_is_measured(triptych, tmp_path):
    done = triptych(
        "bench",
        *QUICK,
        *("--picture", "64x96", "--prefill", 20, "--context", 8, "--context", 90000),
        *("--sequences", 2, "--json", "--plot", tmp_path / "p.svg"),
        *("--markdown", tmp_path / "p.md"),
    )
    assert (done.code, done.err) == (0, "")
    found = json.loads(done.out)
    measures = {result["measure"]: result for result in found["results"]}
    assert list(measures) == [
        "load",
        "vision 64x96",
        "prefill 20",
        "decode at 8",
        "2 sequences at 32",
        "peak memory",
        "above the imports",
    ]
    assert all(
        contender["median"] > 0
        for result in measures.values()
        for contender in result["contenders"].values()
    )
    assert "decode at 90000: longer than the context" in found["notes"]
    assert measures["decode at 8"]["of_the_floor"] > 0
    assert (tmp_path / "p.svg").read_text(encoding="utf-8").startswith("<svg")
    assert "| load |" in (tmp_path / "p.md").read_text(encoding="utf-8")


def test_a_pipeline_is_compared_with_another_under_its_changes(triptych):
    done = triptych(
        "bench",
        *QUICK,
        *("--only", "vision", "--picture", "64x64", "--against", "triptych=sketch"),
        *("--remove", "vision_encoder", "--remove", "merge"),
    )
    assert (done.code, done.err) == (0, "")
    # The changes are of the pipeline, and not of what it is compared with.
    assert "vision 64x64: triptych sketch: " in done.out
    (row,) = [line for line in done.out.splitlines() if line.startswith(" vision 64x64 ")]
    assert row.split()[2] == "none"
    assert " ms (" in row


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--picture", "64"), "--picture 64: is not of the form WxH"),
        (("--only", "speed"), "--only speed: there is no such topic"),
        (("--python", "llama.cpp"), "--python llama.cpp: is not of the form KIND=PATH"),
        (("--against", "lama.cpp=x"), "did you mean 'llama.cpp'"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_runs(triptych, arguments, message):
    done = triptych("bench", *arguments)
    assert done.code == 2
    assert message in done.err


def test_a_runtime_that_is_not_installed_is_told_with_its_remedy(triptych, tmp_path):
    done = triptych(
        "bench", *QUICK, "--only", "load", "--against", f"llama.cpp={tmp_path / 'no.gguf'}"
    )
    assert done.code == 2
    assert "pip install llama-cpp-python" in done.err or "cannot load" in done.err

"""A process per runtime: what it says, and how its failures are told."""

import sys

import pytest

from triptych.bench.contender import KINDS, Contender, ContenderError, Model, model_of

SPEAKS = """
class Runtime:
    def start(self):
        print("noise")
        import os
        os.write(1, b"noise of a native library\\n")
        return {"name": "it", "version": "3"}

    def fail(self):
        raise ValueError("too bad")

    def die(self):
        import os, sys
        print("a last word", file=sys.stderr)
        sys.stderr.flush()
        os._exit(7)

    def want(self):
        import a_module_that_nobody_has
"""


@pytest.fixture
def contender(runtimes):
    with Contender("it", runtimes("speaks", SPEAKS)) as found:
        yield found


def test_what_libraries_print_is_not_an_answer(contender):
    assert contender.ask("start")["name"] == "it"
    assert contender.runtime == "it 3"


def test_answers_tell_of_memory(contender):
    said = contender.ask("start")
    assert 0 < said["resident"] <= said["peak"]


def test_an_error_is_told_and_leaves_the_process(contender):
    with pytest.raises(ContenderError, match=r"^it: ValueError: too bad$"):
        contender.ask("fail")
    assert contender.ask("start")["version"] == "3"


def test_a_missing_module_is_told_with_its_remedy(contender):
    with pytest.raises(ContenderError) as caught:
        contender.ask("want")
    said = str(caught.value)
    assert "'a_module_that_nobody_has' is not installed" in said
    assert "pip install speaks" in said
    assert "--python KIND=PATH" in said
    assert caught.value.exit_code == 2


def test_a_process_that_dies_is_told_with_its_last_words(contender):
    with pytest.raises(ContenderError, match="ended with code 7: a last word"):
        contender.ask("die")


def test_an_interpreter_that_is_not_there_is_named(runtimes):
    with pytest.raises(ContenderError, match="no/python: cannot be started"):
        Contender("it", runtimes("speaks", SPEAKS), "/no/python")


def test_another_interpreter_needs_nothing_of_ours(runtimes):
    # Isolated from the environment and its packages, it has its standard library alone.
    code = "class Runtime:\n    def start(self):\n        import sys\n"
    code += "        assert not any('triptych.core' in name for name in sys.modules)\n"
    code += "        return {'name': 'bare', 'version': ''}\n"
    with Contender("bare", runtimes("bare", code), sys.executable) as found:
        assert found.ask("start")["name"] == "bare"


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_runtime_starts_or_says_what_it_lacks(kind):
    # Whether each is installed here or not, its file is found and read.
    with Contender(kind, KINDS[kind]) as found:
        try:
            assert found.ask("start")["name"]
        except ContenderError as error:
            assert "is not installed" in str(error)  # noqa: PT017


def test_against_names_a_runtime_and_a_model():
    found = model_of("llama.cpp=a=b.gguf", {"llama.cpp": "/other/python"})
    assert found == Model("llama.cpp", "a=b.gguf", "/other/python")
    assert found.label == "llama.cpp a=b.gguf"


def test_a_runtime_that_nobody_knows_is_refused_with_the_nearest():
    with pytest.raises(ContenderError, match="did you mean 'transformers'"):
        model_of("transformer=x", {})
    with pytest.raises(ContenderError, match=r"write llama\.cpp=PATH"):
        model_of("llama.cpp", {})

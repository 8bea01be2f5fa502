"""What is said where the workbench's packages are not installed."""

import subprocess
import sys

import pytest

from triptych.workbench.extra import MissingExtra, workbench_extra


def test_a_missing_package_is_answered_with_the_command_that_installs_it():
    with (
        pytest.raises(MissingExtra, match=r'pip install "triptych\[workbench\]"'),
        workbench_extra("a report needs"),
    ):
        raise ModuleNotFoundError(name="matplotlib.figure")


def test_what_is_missing_for_another_reason_is_not_hidden():
    with pytest.raises(ModuleNotFoundError, match="mine"), workbench_extra("a report needs"):
        raise ModuleNotFoundError("mine", name="triptych.mine")


@pytest.mark.parametrize("module", ["report", "statistics"])
def test_importing_without_them_says_so(module):
    code = (
        "import sys\n"
        "sys.modules.update({'scipy': None, 'scipy.stats': None})\n"
        "from triptych.workbench.extra import MissingExtra\n"
        "try:\n"
        f"    import triptych.workbench.{module}\n"
        "except MissingExtra as error:\n"
        "    print(error)\n"
    )
    said = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    assert "the package scipy:" in said
    assert 'pip install "triptych[workbench]"' in said

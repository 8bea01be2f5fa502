import pytest

from tests.workbench.synthetic import made


@pytest.fixture(scope="session")
def results():
    """Worse, better and neither, with times and two failures."""
    effects = {"base": 0.0, "hot": -0.35, "none": 0.0, "min_p": 0.25}
    speeds = {"base": 50, "hot": 60, "none": 50, "min_p": 40}
    failing = {("hot", 3), ("hot", 4)}
    return made(effects, items=120, speeds=speeds, failing=failing, seed=2)

"""Commands do not search for pydantic's plugins, and go on where pydantic looks for more there."""

import json
import subprocess
import sys

SCRIPT = """
import json, sys
import triptych.cli.main as cli
cli._without_pydantic_plugins()
import pydantic
searched = "importlib.metadata" in sys.modules
from pydantic.plugin._loader import PYDANTIC_ENTRY_POINT_GROUP, get_plugins
class Model(pydantic.BaseModel):
    x: int
print(json.dumps([searched, PYDANTIC_ENTRY_POINT_GROUP, list(get_plugins()), Model(x="1").x]))
"""


def test_the_search_is_spared_and_another_name_is_still_found():
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == [False, "pydantic", [], 1]

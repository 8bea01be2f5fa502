"""The verbs, in the order in which people meet them; each is imported when it is asked for."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any, NamedTuple

ASK, INSPECT, EXTEND, CONVERT = "Ask", "Inspect", "Extend", "Convert checkpoints"


class Verb(NamedTuple):
    """function: ``module:name`` below this package; its module has EXAMPLES. panel: in the help."""

    function: str
    panel: str

    def load(self) -> tuple[Callable[..., Any], str]:
        """The function that does it, and its examples."""
        module_name, _, name = self.function.partition(":")
        module = import_module(f"triptych.cli.{module_name}")
        return getattr(module, name), module.EXAMPLES


VERBS = {
    "run": Verb("run:run", ASK),
    "chat": Verb("chat:chat", ASK),
    "batch": Verb("batch:batch", ASK),
    "check": Verb("check:check", INSPECT),
    "show": Verb("show:show", INSPECT),
    "plugins": Verb("plugins:plugins", INSPECT),
    "schema": Verb("schema:schema", INSPECT),
    "bench": Verb("bench:bench", INSPECT),
    "diff": Verb("diff:diff", INSPECT),
    "ablate": Verb("ablate:ablate", INSPECT),
    "doctor": Verb("doctor:doctor", INSPECT),
    "new-plugin": Verb("new_plugin:new_plugin", EXTEND),
    "export": Verb("export:export", CONVERT),
    "import": Verb("import_folder:import_folder", CONVERT),
    "verify": Verb("verify:verify", CONVERT),
}

"""A plugin in one file: what ``--plugin ./my.py`` names."""

from __future__ import annotations

import sys
from hashlib import blake2b
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path

from triptych.core.components.entry import LOCAL, Origin, PluginFault, cause_of
from triptych.core.components.manifest import Manifest


def read(file: Path) -> Manifest:
    """Run the file as a module and read its hooks.

    Raises PluginFault when it is missing, raises, or has a bad manifest.
    """
    origin = Origin(LOCAL, file=file)
    if not file.is_file():
        raise PluginFault("cannot be used: there is no such file", origin=origin)
    name = f"triptych_local_{blake2b(str(file.resolve()).encode(), digest_size=6).hexdigest()}"
    loader = SourceFileLoader(name, str(file))
    spec = spec_from_loader(name, loader)
    assert spec is not None  # noqa: S101 - a loader always gives one
    module = module_from_spec(spec)
    # Dataclasses and pickles look their module up by name.
    sys.modules[name] = module
    try:
        loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise PluginFault(f"cannot be used: it raised {cause_of(error)}", origin=origin) from error
    return Manifest(module, Origin(LOCAL, file=file, module=module))

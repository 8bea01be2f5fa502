"""Real installed plugins: wheels written by hand, installed by pip into folders of their own."""

import base64
import hashlib
import json
import os
import subprocess
import sys
import textwrap
import zipfile
from dataclasses import dataclass
from pathlib import Path

import triptych

SOURCE = str(Path(triptych.__file__).parents[1])

ASK = """
import json, sys
from pathlib import Path
from triptych.core.components.catalog import Catalog
from triptych.core.errors import TriptychError

kind, name, *files = sys.argv[1:]
answer = {}
try:
    entry = Catalog([Path(file) for file in files]).find(kind, name)
    target = entry.load()
    answer |= {"full_name": entry.full_name, "owner": entry.owner, "role": entry.role,
               "distribution": entry.distribution, "version": entry.version,
               "class": f"{target.__module__}:{target.__qualname__}"}
except TriptychError as error:
    answer |= {"error": type(error).__name__, "message": str(error)}
answer["imported"] = sorted({module.partition(".")[0] for module in sys.modules})
print(json.dumps(answer))
"""

LIST = """
import json, sys
from pathlib import Path
from triptych.core.components.catalog import Catalog

entries, faults = Catalog([Path(file) for file in sys.argv[1:]]).everything()
third = [entry.full_name for entry in entries if entry.owner]
own = [entry.full_name for entry in entries if not entry.owner]
print(json.dumps({"third": third, "own": own, "faults": [str(fault) for fault in faults]}))
"""


@dataclass(frozen=True)
class Environment:
    """A folder of installed distributions, asked by a fresh interpreter."""

    site: Path

    def find(self, kind, name, *files):
        """What the catalog says of one component, or its error, and all that was imported."""
        return self._run(ASK, kind, name, *files)

    def everything(self, *files):
        """The full names of all components, third parties' and Triptych's own, and all faults."""
        return self._run(LIST, *files)

    def _run(self, script, *arguments):
        command = [sys.executable, "-c", script, *map(str, arguments)]
        done = subprocess.run(
            command,
            env={"PYTHONPATH": os.pathsep.join([str(self.site), SOURCE])},
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        return json.loads(done.stdout)


def wheel(folder, name, version, files, owner=None, target=None):
    """Write a wheel that holds `files` (path to source) and claims `owner` for `target`."""
    stem = f"{name.replace('-', '_')}-{version}"
    info = f"{stem}.dist-info"
    contents = {path: textwrap.dedent(source) for path, source in files.items()}
    contents[f"{info}/METADATA"] = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    contents[f"{info}/WHEEL"] = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    if owner is not None:
        contents[f"{info}/entry_points.txt"] = f"[triptych]\n{owner} = {target}\n"
    record = [f"{path},{_digest(text)},{len(text.encode())}" for path, text in contents.items()]
    contents[f"{info}/RECORD"] = "\n".join([*record, f"{info}/RECORD,,", ""])
    file = folder / f"{stem}-py3-none-any.whl"
    with zipfile.ZipFile(file, "w") as archive:
        for path, text in contents.items():
            archive.writestr(path, text)
    return file


def install(site, wheels):
    """Install wheels into the folder `site` as a person would."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps"]
    command += ["--disable-pip-version-check", "--target", str(site), *map(str, wheels)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return Environment(site)


def _digest(text):
    digest = hashlib.sha256(text.encode()).digest()
    return "sha256=" + base64.urlsafe_b64encode(digest).rstrip(b"=").decode()

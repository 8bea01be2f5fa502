"""Plugin packages installed from their sources into a folder of their own."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.core.environments import SOURCE

COMMAND = "import sys; from triptych.cli.main import main; sys.exit(main(sys.argv[1:]))"


@dataclass(frozen=True)
class Site:
    """A folder of installed packages, beside this project's own."""

    folder: Path

    def triptych(self, *arguments, cwd=None):
        """The command line, where they are installed."""
        return self._run(["-c", COMMAND, *map(str, arguments)], cwd)

    def pytest(self, *arguments, cwd=None):
        """Their tests, as their authors run them."""
        return self._run(
            ["-m", "pytest", "-q", "-p", "no:cacheprovider", *map(str, arguments)], cwd
        )

    def _run(self, arguments, cwd):
        return subprocess.run(
            [sys.executable, *arguments],
            env={
                "PATH": os.environ["PATH"],
                "PYTHONPATH": os.pathsep.join([str(self.folder), SOURCE]),
                "PYTHONDONTWRITEBYTECODE": "1",
                "OMP_NUM_THREADS": "1",
            },
            cwd=cwd,
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )


def install(folder, packages):
    """Build and install packages as pip does, without asking an index for anything."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps"]
    command += ["--no-build-isolation", "--disable-pip-version-check", "--target", str(folder)]
    command += [str(package) for package in packages]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return Site(folder)

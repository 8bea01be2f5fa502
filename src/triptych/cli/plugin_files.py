"""The files of a new plugin: templates beside this module, with names filled in.

A template is a file as it will be, but for words such as ``__OWNER__``, which are valid in
Python, so that templates can be read, and checked, as what they are.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from triptych import __version__
from triptych.core.components.entry import LOCAL
from triptych.core.components.manifest import NAME as ALLOWED
from triptych.core.errors import TriptychError

PLACEHOLDER = re.compile(r"__[A-Z]+__")
IMPORT = "import triptych\n"


@dataclass(frozen=True)
class Template:
    """What a kind's example is called, and does. hint: what its author will want to know next."""

    name: str
    summary: str
    hint: str
    extra: str = ""


TEMPLATES = {
    "sampler": Template(
        "near_best",
        "Keeps the tokens whose logits are near the largest.",
        "a step goes before the chooser in `sampler:`",
    ),
    "stage": Template(
        "keep_strong",
        "Keeps the visual rows with the largest norms.",
        "a stage goes where its ports are there: `--insert 'after mrope: ...'`",
    ),
    "strategy": Template(
        "plain", "One token per forward pass.", "it goes to `strategy:` in a pipeline file"
    ),
    "processor": Template(
        "bytes", "Text whose tokens are bytes.", "it goes to `processor:` in a pipeline file"
    ),
    "exporter": Template(
        "bigram",
        "Exports bigram models: a table and a head.",
        "`triptych export CHECKPOINT OUT --family ...` uses it",
        extra="[export]",
    ),
    "cache": Template(
        "recent",
        "Keeps the last tokens.",
        "it goes to the decoder: `--set decoder.cache=...`",
    ),
    "dataset": Template("sums", "Sums of two small numbers.", "its interface is provisional"),
    "metric": Template(
        "contained",
        "Whether the reply has the reference among its words.",
        "its interface is provisional",
    ),
}
"""The example of each kind."""


class NewPluginError(TriptychError):
    """A plugin that cannot be written under these names, or in this place."""


@dataclass(frozen=True)
class Names:
    """What the plugin and its parts are called. owner: the part before the slash."""

    kind: str
    owner: str
    name: str

    @classmethod
    def of_package(cls, kind: str, place: Path, *, owner: str | None, name: str | None) -> Names:
        """The names of a package in `place`. Raises NewPluginError."""
        if owner is None:
            owner = re.sub(r"[^A-Za-z0-9_-]+", "-", place.absolute().name).strip("-").lower()
            if not owner or not owner[0].isalpha():
                raise NewPluginError(
                    f"{str(place)!r} gives the plugin no name that begins with a letter; name its "
                    "owner with --owner"
                )
        if owner == LOCAL:
            raise NewPluginError(f"the owner {LOCAL!r} belongs to --plugin files; choose another")
        if not ALLOWED.fullmatch(owner) or not owner[0].isalpha():
            raise NewPluginError(
                f"the owner {owner!r} is not made of letters, digits, _ and -, a letter first"
            )
        return cls(kind, owner, _name(kind, name))

    @classmethod
    def of_file(cls, kind: str, *, owner: str | None, name: str | None) -> Names:
        """The names of a file for ``--plugin``. Raises NewPluginError."""
        if owner not in (None, LOCAL):
            raise NewPluginError(
                f"a file for --plugin is always of the owner {LOCAL!r}; leave --owner out, or "
                "write a package, without --file"
            )
        return cls(kind, LOCAL, _name(kind, name))

    @property
    def full_name(self) -> str:
        """As pipeline files have it."""
        return f"{self.owner}/{self.name}"

    @property
    def package(self) -> str:
        """What Python imports."""
        return f"triptych_{self.owner}".replace("-", "_").lower()

    @property
    def words(self) -> dict[str, str]:
        """What stands in the place of each placeholder."""
        example = template(self.kind)
        class_name = "".join(part[:1].upper() + part[1:] for part in self.name.split("_"))
        module = "" if self.owner == LOCAL else f"{self.package}.{self.name}"
        return {
            "__KIND__": self.kind,
            "__OWNER__": self.owner,
            "__NAME__": self.name,
            "__CLASS__": class_name,
            "__PACKAGE__": self.package,
            "__TARGET__": f"{module}:{class_name}",
            "__DISTRIBUTION__": self.package.replace("_", "-"),
            "__REQUIREMENT__": f"triptych{example.extra}>={__version__}",
            "__SUMMARY__": example.summary,
        }


def template(kind: str) -> Template:
    """The example of a kind."""
    return TEMPLATES[kind]


def write_package(place: Path, names: Names) -> list[Path]:
    """Write the package into `place`; its files. Raises NewPluginError when it is not empty."""
    if place.exists() and (not place.is_dir() or any(place.iterdir())):
        raise NewPluginError(
            f"{place} is there already"
            + (" and is not empty" if place.is_dir() else "")
            + "; nothing was written. Give another folder"
        )
    source = Path("src") / names.package
    wanted = {
        Path("pyproject.toml"): ("package", "pyproject.toml"),
        Path("README.md"): ("package", "README.md"),
        source / "manifest.py": (names.kind, "manifest.py"),
        source / f"{names.name}.py": (names.kind, "component.py"),
        Path("tests") / f"test_{names.name}.py": (names.kind, "proof.py"),
    }
    written = {path: filled(*where, names) for path, where in wanted.items()}
    written[source / "__init__.py"] = f'"""{template(names.kind).summary}"""\n'
    try:
        for path, text in written.items():
            (place / path).parent.mkdir(parents=True, exist_ok=True)
            (place / path).write_text(text, encoding="utf-8")
    except OSError as error:
        raise NewPluginError(f"{place} cannot be written: {error}") from error
    return [place / path for path in written]


def write_file(place: Path, names: Names) -> None:
    """Write one file for ``--plugin``. Raises NewPluginError when there is one already."""
    if place.suffix != ".py":
        raise NewPluginError(f"{place} is no name of a Python file; end it with .py")
    if place.exists():
        raise NewPluginError(f"{place} is there already; nothing was written. Give another name")
    component = filled(names.kind, "component.py", names)
    if IMPORT not in component:
        component = _importing(component)
    _, _, hook = filled(names.kind, "manifest.py", names).partition(IMPORT)
    try:
        place.write_text(component.rstrip("\n") + "\n" + hook, encoding="utf-8")
    except OSError as error:
        raise NewPluginError(f"{place} cannot be written: {error}") from error


def filled(folder: str, file: str, names: Names) -> str:
    """A template with the names in their places."""
    text = (files("triptych.cli") / "templates" / folder / file).read_text(encoding="utf-8")
    words = names.words
    return PLACEHOLDER.sub(lambda match: words[match[0]], text)


def _importing(component: str) -> str:
    """A module that does without it, with the import that its hook needs."""
    before, found, after = component.partition("from triptych")
    if found:
        return before + IMPORT + found + after
    docstring, _, rest = component.partition("\n")
    return f"{docstring}\n\n{IMPORT}{rest}"


def templates() -> Iterator[Path]:
    """Every template."""
    root = Path(str(files("triptych.cli") / "templates"))
    # An installer compiles what ends with .py.
    yield from sorted(path for path in root.rglob("*") if path.is_file() and path.suffix != ".pyc")


def _name(kind: str, name: str | None) -> str:
    """The component's name, which is a module's as well."""
    if name is None:
        return template(kind).name
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or keyword.iskeyword(name):
        raise NewPluginError(
            f"the name {name!r} is not made of small letters, digits and _, a letter first (it is "
            "the name of a Python module, too)"
        )
    if name in ("manifest", "__init__"):
        raise NewPluginError(f"the name {name!r} is taken by a file of the package")
    return name

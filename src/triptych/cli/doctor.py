"""`triptych doctor`: whether this installation can do its work."""

from __future__ import annotations

import json as json_text
import platform
import time
from dataclasses import asdict, dataclass
from typing import Literal

import typer

from triptych import __version__
from triptych.cli import arguments as args
from triptych.cli.reporting import FAULT, reporting
from triptych.cli.terminal import Waiting

EXAMPLES = args.examples(
    ("After an installation, or before a report:", "triptych doctor"),
)

PACKAGES = (
    "onnxruntime",
    "numpy",
    "transformers",
    "tokenizers",
    "pillow",
    "pydantic",
    "ruamel.yaml",
    "pluggy",
    "rich",
    "typer",
)
"""What running a pipeline needs."""

EXPORT_PACKAGES = ("torch", "onnx", "onnx-ir", "onnxscript", "safetensors")
"""What only exporting and verifying need."""

QUESTION, ANSWER = "What is the capital of France?", "Paris"
"""Something that the built-in model knows."""

State = Literal["ok", "note", "failed"]


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. note: fine for running, but worth knowing."""

    topic: str
    state: State
    text: str


def doctor(*, json: args.Json = False, debug: args.Debug = False) -> None:
    """Report versions, providers, threads, the built-in model's answer, and broken plugins.

    Exit code 1 when the installation cannot run a pipeline. Broken plugins of
    others are listed, but harm nothing.
    """
    with reporting(debug=debug):
        with Waiting("asking the built-in model"):
            model = _model()
            findings = [
                *_versions(),
                _providers(),
                _threads(),
                _graph_cache(),
                model,
                *_plugins(),
            ]
        if json:
            typer.echo(
                json_text.dumps(
                    {
                        "ok": not _failed(findings),
                        "findings": [asdict(finding) for finding in findings],
                    },
                    ensure_ascii=False,
                )
            )
        else:
            _print(findings)
        if _failed(findings):
            raise typer.Exit(FAULT)


def _failed(findings: list[Finding]) -> bool:
    return any(finding.state == "failed" for finding in findings)


def _print(findings: list[Finding]) -> None:
    colors = {"ok": typer.colors.GREEN, "note": typer.colors.YELLOW, "failed": typer.colors.RED}
    width = max(len(finding.topic) for finding in findings)
    for finding in findings:
        state = typer.style(f"{finding.state:<6}", fg=colors[finding.state])
        typer.echo(f"{state}  {finding.topic:<{width}}  {finding.text}")


def _versions() -> list[Finding]:
    from importlib.metadata import PackageNotFoundError, version

    found = [
        Finding("triptych", "ok", __version__),
        Finding("python", "ok", f"{platform.python_version()} on {platform.platform()}"),
    ]
    for package in PACKAGES:
        try:
            found.append(Finding(package, "ok", version(package)))
        except PackageNotFoundError:
            found.append(Finding(package, "failed", f"not installed: pip install {package}"))
    present, absent = [], []
    for package in EXPORT_PACKAGES:
        try:
            present.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            absent.append(package)
    text = ", ".join(present) or "none of its packages"
    if absent:
        text += f"; without {', '.join(absent)}; running needs none: pip install 'triptych[export]'"
    found.append(Finding("export", "note" if absent else "ok", text))
    return found


def _providers() -> Finding:
    try:
        from triptych.core.graphs.providers import available_providers

        found = available_providers()
        text = ", ".join(found)
        if "cuda" in found:
            text += (
                "; not every operator has a kernel for cuda: triptych check PIPELINE --set "
                "'session.providers=[cuda, cpu]' tells which of a pipeline's run on the cpu"
            )
        return Finding("providers", "note" if "cuda" in found else "ok", text)
    except Exception as error:  # noqa: BLE001 - a broken native library may raise anything
        return Finding("providers", "failed", f"{type(error).__name__}: {error}")


def _threads() -> Finding:
    """Asked after the model: only then there is a pool."""
    from triptych.core.graphs.thread_pool import ThreadPool, cpu_threads

    text = f"{cpu_threads()} (what 'threads: auto' means here); "
    if ThreadPool.size:
        return Finding("threads", "ok", text + f"all graphs share a pool of {ThreadPool.size}")
    if ThreadPool.size == 0:
        return Finding("threads", "note", text + "graphs run on a pool that another library made")
    return Finding("threads", "ok", text + "no graph has been opened")


def _graph_cache() -> Finding:
    from triptych.core.graphs.kept_graph import kept_graphs
    from triptych.core.system.kept_files import VARIABLE, KeptFilesError

    kept = kept_graphs()
    if kept is None:
        return Finding("graph cache", "note", f"off ({VARIABLE})")
    try:
        kept.prepare()
    except KeptFilesError as error:
        return Finding("graph cache", "note", f"not used, starts take longer: {error}")
    files = kept.files()
    size = sum(state.st_size for _, state in files) / 2**20
    text = f"{len(files)} graphs, {size:.1f} of {kept.most_bytes >> 20} MiB, in {kept.folder}"
    return Finding("graph cache", "ok", text)


def _model() -> Finding:
    """Load the built-in model and ask it something."""
    begin = time.perf_counter()
    try:
        from triptych.core.pipeline import load

        pipeline = load(args.DEFAULT_PIPELINE)
        loaded = time.perf_counter()
        reply = pipeline.generate(QUESTION, no_sample=True)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is the finding
        return Finding("model", "failed", f"{args.DEFAULT_PIPELINE}: {error}")
    took = f"loaded in {loaded - begin:.1f} s, answered in {time.perf_counter() - loaded:.2f} s"
    if ANSWER not in reply.text:
        return Finding("model", "failed", f"{QUESTION} {reply.text!r}, not {ANSWER!r} ({took})")
    return Finding("model", "ok", f"{QUESTION} {reply.text} ({took})")


def _plugins() -> list[Finding]:
    from triptych.core.components.catalog import Catalog

    entries, faults = Catalog().everything()
    owners = sorted({entry.owner for entry in entries if entry.owner is not None})
    installed = f", and those of {', '.join(owners)}" if owners else ""
    text = f"{sum(entry.owner is None for entry in entries)} built-in components{installed}"
    return [
        Finding("plugins", "ok", text),
        *(Finding("plugins", "note", str(fault)) for fault in faults),
    ]

"""Graphs as ONNX Runtime has optimised them, kept for the next start.

What is kept holds no weights but the few that were folded: it refers to the graph's own data files.
"""

from __future__ import annotations

import hashlib

from triptych.core.graphs.files import GraphFiles
from triptych.core.system.kept_files import KeptFile, KeptFiles, version_of

KIND = "graphs"

MOST_BYTES = 256 * 2**20
"""What all kept graphs may take."""
LARGEST = 32 * 2**20
"""A graph with more in it has weights that were converted; reading them twice saves nothing."""
LEAST_WEIGHTS = 64 * 2**20
"""Graphs with less beside them open in less time than what is kept takes to be checked."""
TOO_LARGE = b""
"""What is kept of a graph that is too large, which is then not written again at each start."""


def kept_graphs() -> KeptFiles | None:
    """The user's own; None where nothing is to be kept."""
    return KeptFiles.usual(KIND, MOST_BYTES, LARGEST)


def kept_graph(files: GraphFiles, made_by: str) -> KeptFile | None:
    """Where the optimised form of a graph is, or would be; None if keeping it does not pay.

    made_by: what else the form depends on. A graph is known by its content, its data files by their
    places, sizes and times.
    """
    kept = kept_graphs()
    if kept is None:
        return None
    try:
        data = sorted((files.folder / name).resolve() for name in files.data)
        states = [file.stat() for file in data]
        if sum(state.st_size for state in states) < LEAST_WEIGHTS:
            return None
        if files.graph.stat().st_size > LARGEST:
            return None
        graph = hashlib.sha256(files.graph.read_bytes()).hexdigest()
    except OSError:
        return None
    versions = [(str(file), *version_of(state)) for file, state in zip(data, states, strict=True)]
    return kept.of(repr((graph, versions, made_by)).encode())

"""A checkpoint with experts beside its export: as a pipeline, as graphs, and in transformers."""

from __future__ import annotations

from functools import cached_property

from tests.end_to_end.models import Model
from tests.export.graphs import Graphs


class MoeModel(Model):
    """Serves where a `Pair` is wanted, too."""

    @cached_property
    def graphs(self):
        return Graphs(self.folder)

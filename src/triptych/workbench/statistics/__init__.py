"""Whether an arm differs from the base arm, by how much, and how sure that is.

Follows Miller, "Adding Error Bars to Evals" (arXiv 2411.00640): questions are a sample, answers
are compared question by question, and questions that hang together are counted as one cluster.
"""

from triptych.workbench.extra import workbench_extra

with workbench_extra("statistics need"):
    from triptych.workbench.statistics.compare import compare
    from triptych.workbench.statistics.comparison import Comparison, Difference, Level, Method
    from triptych.workbench.statistics.draws import UnknownArm, based_on
    from triptych.workbench.statistics.power import smallest_effect

__all__ = [
    "Comparison",
    "Difference",
    "Level",
    "Method",
    "UnknownArm",
    "based_on",
    "compare",
    "smallest_effect",
]

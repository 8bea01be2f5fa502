"""How weights are stored: the one place where a tensor of a checkpoint becomes graph constants.

A graph asks the storage of the part it builds for "multiply by this weight" or "look these rows
up", so that another precision (quantized blocks, say) changes no graph code.
"""

from triptych.export.precision.presets import PRECISIONS, PrecisionError, precision_named
from triptych.export.precision.storage import Part, Precision, Storage

__all__ = ["PRECISIONS", "Part", "Precision", "PrecisionError", "Storage", "precision_named"]

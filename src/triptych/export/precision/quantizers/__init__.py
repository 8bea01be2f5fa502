"""The methods that turn rows of a weight into blocks, by the names that recipes give them."""

from collections.abc import Mapping

from triptych.export.precision.quantizers.hqq import hqq
from triptych.export.precision.quantizers.quantizer import Quantizer
from triptych.export.precision.quantizers.rtn import rtn

__all__ = ["QUANTIZERS", "Quantizer", "hqq", "rtn"]

QUANTIZERS: Mapping[str, Quantizer] = {"rtn": rtn, "hqq": hqq}

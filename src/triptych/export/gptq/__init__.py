"""Quantization that looks at data: GPTQ, layer by layer, on prompts."""

from triptych.export.gptq.calibrate import CalibrationError, calibrated
from triptych.export.gptq.layers import layers
from triptych.export.gptq.measuring import MeasuringPrecision
from triptych.export.gptq.prompts import decoder_inputs, hollow
from triptych.export.gptq.solve import HessianError, gptq

__all__ = [
    "CalibrationError",
    "HessianError",
    "MeasuringPrecision",
    "calibrated",
    "decoder_inputs",
    "gptq",
    "hollow",
    "layers",
]

"""Any ONNX graph as a stage."""

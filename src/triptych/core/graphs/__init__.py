"""ONNX graphs: their declarations, their sessions, their runs."""

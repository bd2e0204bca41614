"""Any embedder that is an ONNX file."""

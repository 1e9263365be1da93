"""The embedded default: vision encoder and language model as ONNX graphs on the CPU."""

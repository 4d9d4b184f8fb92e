"""ONNX, with external data: a bounded walk over protobuf's wire format, no generated code."""

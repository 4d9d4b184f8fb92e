"""ONNX, with external data: a bounded walk over protobuf's wire format, no generated code."""

from steelyard.checkpoints.onnx.reader import HEAD_BYTES, looks_like_onnx, read

__all__ = ["HEAD_BYTES", "looks_like_onnx", "read"]

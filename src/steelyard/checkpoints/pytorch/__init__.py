"""PyTorch checkpoints, zip and legacy: tensor layout from the pickle's opcodes, never unpickled."""

from steelyard.checkpoints.pytorch.reader import read, streams

__all__ = ["read", "streams"]

"""GGUF, versions 2 and 3, little and big endian, whole or split.

`read` reads the header of one file, `merge` joins the parts of a split.
"""

from steelyard.checkpoints.gguf.metadata import LENGTH_SUFFIX
from steelyard.checkpoints.gguf.reader import read
from steelyard.checkpoints.gguf.split import merge, split_name

__all__ = ["LENGTH_SUFFIX", "merge", "read", "split_name"]

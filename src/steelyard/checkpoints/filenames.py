"""What a file's name says of it: where weights are looked for, and what is loaded as a pickle.

A name can lie, so it only says where to look; what a file is, `formats` tells by its bytes.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath

PICKLE_SUFFIXES = frozenset({".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib"})
"""Suffixes of files that are loaded as pickles."""
_PICKLE_ENDS = tuple(sorted(PICKLE_SUFFIXES))
_WEIGHT_SUFFIXES = PICKLE_SUFFIXES | {
    ".safetensors", ".gguf", ".ggml", ".onnx", ".npz", ".npy", ".h5", ".keras", ".jit",
    ".tflite", ".pb", ".msgpack", ".mlmodel", ".ot", ".pdparams", ".mar", ".ptl", ".pte", ".model",
}  # fmt: skip
_WEIGHT_NAMES = frozenset({"model"})
"""Whole names: each component of a spaCy pipeline keeps its weights in such a file."""
_TENSORFLOW_JS = r"group\d+-shard\d+of\d+(\.|$)"
_NOT_WEIGHTS = frozenset(
    {"tokenizer.model", "spiece.model", "sentencepiece.bpe.model", "keras_metadata.pb",
     "fingerprint.pb"}
)  # fmt: skip


def named_like_weights(path: str) -> bool:
    """Tell whether a file's name is one that weights usually have."""
    name = PurePosixPath(path)
    if name.name in _WEIGHT_NAMES or is_tensorflow_js(path):
        return True
    return name.suffix.lower() in _WEIGHT_SUFFIXES and name.name.lower() not in _NOT_WEIGHTS


def named_like_pickle(path: str) -> bool:
    """Tell whether a file's name is one under which pickles are loaded."""
    return path.lower().endswith(_PICKLE_ENDS)


def is_tensorflow_js(path: str) -> bool:
    """Tell the shards that TensorFlow.js's converter writes: raw numbers, known by their names."""
    return re.match(_TENSORFLOW_JS, PurePosixPath(path).name) is not None

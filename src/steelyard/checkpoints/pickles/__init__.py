"""Pickles, interpreted symbolically: what a stream would build and import, without doing it."""

from steelyard.checkpoints.pickles.interpreter import (
    HEAD,
    holds_pickle,
    interpret,
    looks_like_pickle,
)
from steelyard.checkpoints.pickles.values import PickleStream

__all__ = ["HEAD", "PickleStream", "holds_pickle", "interpret", "looks_like_pickle"]

"""Examine files for pickles, wherever they hide: told by content, never by a name, never run."""

from steelyard.checkpoints.examining.examination import Examination, examine, examine_file
from steelyard.checkpoints.examining.findings import Budget

__all__ = ["Budget", "Examination", "examine", "examine_file"]

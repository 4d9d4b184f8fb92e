"""Files that would run something when they are loaded, and files that would not.

Made anew for each run. Of those that would, the opcodes are put together by hand, and nothing is
ever run: a payload names `os.system` with `true`, or something else with an argument that would do
nothing either. Those that would not are mostly written by Python and NumPy themselves.
"""

from __future__ import annotations

from tests.corpus.bad import bad_files
from tests.corpus.benign import benign_files
from tests.corpus.riders import bad_riders, benign_riders

__all__ = ["bad_files", "bad_riders", "benign_files", "benign_riders"]

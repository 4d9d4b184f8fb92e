"""The version of Steelyard; the package takes it from here, as its metadata take long to read."""

from typing import Final

VERSION: Final = "0.1.0"

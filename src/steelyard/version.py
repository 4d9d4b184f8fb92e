"""The version of Steelyard; the package takes it from here, as its metadata take long to read."""

VERSION = "0.1.0"

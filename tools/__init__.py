"""Scripts for people who work on Steelyard; not part of the package."""

"""The report as SARIF 2.1.0, for code scanning and editors.

The format is OASIS "Static Analysis Results Interchange Format (SARIF) Version 2.1.0"; where its
readers are stricter (GitHub refuses a file with one result that has no place), this is too.
"""

from steelyard.reports.sarif.log import render

__all__ = ["render"]

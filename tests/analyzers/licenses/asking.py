"""License texts to ask about, and the analyzer of licenses asked."""

from __future__ import annotations

from importlib.metadata import distribution
from pathlib import Path

from steelyard.analyzers import licenses
from steelyard.checkpoints.model import Model
from steelyard.facts import FactBook
from tests.analyzers.facts_of import facts_of


def installed(name: str) -> str:
    """Return the license text of a package that the tests need anyway."""
    files = distribution(name).files or []
    (path,) = (file for file in files if file.name.startswith("LICENSE"))
    return Path(str(path.locate())).read_text(encoding="utf-8")


APACHE = (Path(__file__).parents[3] / "LICENSE").read_text(encoding="utf-8")
MIT = installed("pytest")
BSD = installed("click")
LLAMA = (
    "LLAMA 3.1 COMMUNITY LICENSE AGREEMENT\nLlama 3.1 Version Release Date: July 23, 2024\nTerms."
)
LLAMA_ID = "LicenseRef-scancode-llama-3.1-license-2024"
CONDITION = (
    "\nAdditional terms: you shall not use the Software in any product or service with more than"
    " one thousand users.\n"
)


def ask(given_model: Model) -> FactBook:
    return facts_of(licenses.analyze, given_model)


def card(license_id: str) -> str:
    return f"---\nlicense: {license_id}\n---\n# Name\n"

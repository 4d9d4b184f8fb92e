"""Licenses by the names that people write."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steelyard.analyzers.licenses.names import read_license
from steelyard.knowledge import load
from tests.analyzers.licenses.asking import LLAMA_ID


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("apache-2.0", "Apache-2.0"),
        ("Apache 2.0", "Apache-2.0"),
        ("Apache License 2.0", "Apache-2.0"),
        ("Apache License, Version 2.0", "Apache-2.0"),
        ("APACHE-2.0", "Apache-2.0"),
        ("The MIT License", "MIT"),
        ("MIT/Apache-2.0", "MIT OR Apache-2.0"),
        ("mit or (bsd-3-clause and isc)", "MIT OR (BSD-3-Clause AND ISC)"),
        ("GPL-3.0", "GPL-3.0-only"),
        ("GPL-3.0+", "GPL-3.0-or-later"),
        ("GNU General Public License v3 or later (GPLv3+)", "GPL-3.0-or-later"),
        ("GPL-2.0-only WITH Classpath-exception-2.0", "GPL-2.0-only WITH Classpath-exception-2.0"),
        ("AGPL-3.0 License (https://example.org/license)", "AGPL-3.0-only"),
        ("openrail++", "LicenseRef-scancode-bigscience-open-rail-m2"),
        ("Llama 3.1 Community License Agreement", LLAMA_ID),
        ("LicenseRef-scancode-openmdw-1.0", "OpenMDW-1.0"),
        ("LicenseRef-acme-1", "LicenseRef-acme-1"),
        ("BSD License", "BSD License"),
        ("Acme Model License", "Acme Model License"),
        ("\x1b[1mmit\x07 ", "[1mmit"),
        ("许可证", "许可证"),
        ("https://example.org/license", "https://example.org/license"),
    ],
)
def test_names(written: str, value: str) -> None:
    stated = read_license(written)
    assert stated is not None
    assert stated.value == value


@pytest.mark.parametrize(
    "written", ["", "  ", "unknown", "UNKNOWN", "None", "license", "\x00", "(((("]
)
def test_names_that_say_nothing(written: str) -> None:
    assert read_license(written) is None


def test_what_a_name_covers() -> None:
    def covering(name: str, found: str) -> str | None:
        stated = read_license(name)
        assert stated is not None
        return stated.covering(found)

    assert covering("MIT OR Apache-2.0", "MIT") == "MIT"
    assert covering("GPL-3.0-or-later", "GPL-3.0-only") == "GPL-3.0-or-later"
    assert covering("bsd", "BSD-3-Clause") == "BSD-3-Clause"
    assert covering("bsd", "MIT") is None
    assert covering("lgpl", "GPL-3.0-only") is None
    assert covering("Acme License", "MIT") is None


def test_every_spdx_identifier_of_the_table_is_one() -> None:
    from license_expression import get_spdx_licensing

    known = get_spdx_licensing().known_symbols
    newer = {"OpenMDW-1.0"}  # on SPDX's list since the library's last release
    for name in load("hub_licenses")["licenses"].values():
        assert name in known or name in newer or name.startswith("LicenseRef-"), name


_NAMES = st.sampled_from(
    ["mit", "MIT", "apache-2.0", "or", "AND", "with", "(", ")", "/", ",", "gpl", "+", "3", "-only",
     "LicenseRef-x", "unknown", "GPL-3.0+", "Classpath-exception-2.0"]
)  # fmt: skip


@given(st.lists(_NAMES, max_size=8))
@settings(max_examples=300, deadline=None)
def test_any_expression(parts: list[str]) -> None:
    stated = read_license(" ".join(parts))
    if stated is not None and stated.ids:
        again = read_license(stated.value)
        assert again is not None
        assert again.value == stated.value

"""Python in notebooks: cells, their lines, and lines for IPython."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steelyard.analyzers.code import notebooks, scripts
from steelyard.errors import CheckpointError, LimitExceeded
from tests import models
from tests.analyzers.facts_of import facts_of, texts_of


def notebook(*cells: str, language: str = "python") -> bytes:
    made = [
        {"cell_type": "markdown", "source": ["import os\n", "os.system('true')"]},
        *({"cell_type": "code", "source": cell.splitlines(keepends=True)} for cell in cells),
    ]
    kernel = {"language_info": {"name": language}}
    return json.dumps({"cells": made, "metadata": kernel, "nbformat": 4}).encode()


def uses(*cells: str) -> list[tuple[str, str, tuple[int, int]]]:
    """Give what cells do: kind, name, cell and line."""
    found = notebooks.examine(notebook(*cells), "a.ipynb")
    assert found.unread == ()
    return [(use.kind, use.name, found.place(use.line)) for use in found.script.uses]


def test_a_name_of_one_cell_is_known_in_the_next() -> None:
    assert uses("import os as o\nx = 1\n", "y = 2\no.system('true')") == [
        ("process", "os.system", (3, 2))
    ]


@pytest.mark.parametrize(
    ("cell", "name", "line"),
    [
        ("!pip install x", "!pip install x", 1),
        ("a = 1\nb = !ls -l", "!ls -l", 2),
        ("for a in b:\n    !rm {a}", "!rm {a}", 2),
        ("%pip install x", "%pip install x", 1),
        ("%%bash\necho 'x\n", "%%bash", 1),
        ("\n%%script sh -e\n(", "%%script", 2),
    ],
)
def test_calls_of_programs(cell: str, name: str, line: int) -> None:
    assert uses(cell) == [("process", name, (2, line))]


@pytest.mark.parametrize(
    "cell",
    [
        "import os\n%time os.system('true')",
        "%%time\nimport os; os.system('true')",
        "import os\n%timeit -n 3 -r 2 os.system('true')",
        "import os\nx = (1\n% os.system('true'))\n!true",
        "import os\n!echo \\\n  more\nos.system('true')",
        "import os\nos?\n?os\nos.system('true')",
        "import os\nawait x\nos.system('true')",
        "import os\nx = '''\n!true\n'''\n%matplotlib inline\nos.system('true')",
    ],
)
def test_python_beside_lines_for_ipython(cell: str) -> None:
    assert "os.system" in [name for _, name, _ in uses(cell)]


@pytest.mark.parametrize(
    "cell",
    ["%matplotlib inline\nx = 1", "%%html\n<b>", "x = 7\n% 3", "print('''\n!ls\n''')", "x?", ""],
)
def test_what_does_nothing_of_note(cell: str) -> None:
    assert all(kind not in ("process", "writes") for kind, _, _ in uses(cell))


def test_a_cell_that_does_not_parse_is_named_and_the_others_are_read() -> None:
    found = notebooks.examine(notebook("print 'x'", "import os\nos.system('true')"), "a.ipynb")
    assert found.unread == ("cell 2 is not Python that can be parsed",)
    assert [use.name for use in found.script.uses] == ["os.system"]


def test_cells_of_another_language_need_not_parse() -> None:
    assert notebooks.examine(notebook("x <- c(1", language="R"), "a.ipynb").unread == ()


def test_the_old_format_keeps_cells_in_worksheets() -> None:
    cell = {"cell_type": "code", "input": "import os\nos.system('true')"}
    data = json.dumps({"worksheets": [{"cells": [cell]}, 3]}).encode()
    found = notebooks.examine(data, "a.ipynb")
    assert [(use.name, found.place(use.line)) for use in found.script.uses] == [
        ("os.system", (1, 2))
    ]


@pytest.mark.parametrize("data", [b"", b"[]", b"{", b'"x"'])
def test_what_is_no_notebook_is_refused(data: bytes) -> None:
    with pytest.raises(CheckpointError):
        notebooks.examine(data, "a.ipynb")


def test_too_many_lines_for_ipython_stop_at_a_limit() -> None:
    cell = "(\n" + "%x\n" * 3000 + "y = '" + "z" * 100_000 + "'"
    with pytest.raises(LimitExceeded):
        notebooks.examine(notebook(cell), "a.ipynb")


def test_a_finding_says_the_cell_and_its_line(tmp_path: Path) -> None:
    files = {"train.ipynb": notebook("x = 1", "import os\nos.system('true')")}
    book = facts_of(scripts.analyze, models.read(models.folder(tmp_path, files=files)))
    assert book.value("code.scripts") == {"train.ipynb"}
    assert book.value("code.scripts.runs") == frozenset()
    assert book.value("code.scripts.other") == {
        "train.ipynb cell 3:2 os.system starts a program, when its cells are run"
    }
    fact = book.resolve("code.scripts.other")
    assert fact is not None
    assert (fact.evidence[0].file, fact.evidence[0].field) == ("train.ipynb", "cells.2.source.1")


def test_hidden_code_in_a_notebook_is_told_as_anywhere(tmp_path: Path) -> None:
    cell = "import base64\nexec(base64.b64decode('eA=='))"
    files = {"train.ipynb": notebook(cell), "broken.ipynb": b"{"}
    model = models.read(models.folder(tmp_path, files=files))
    (said,) = texts_of(scripts.analyze, model, "code.scripts.runs")
    assert said.startswith("train.ipynb cell 2:2 exec decodes hidden code")
    (unread,) = texts_of(scripts.analyze, model, "code.scripts.unread")
    assert unread.startswith("broken.ipynb")


@given(st.lists(st.sampled_from(
    ["x = 1", "!ls", "%time y()", "%%bash", "    z", "if x:", "(", ")", "'''", "a \\", "% 3", "?",
     "os.system('true')", "import os"]), max_size=12))  # fmt: skip
def test_lines_keep_their_places(lines: list[str]) -> None:
    text = "\n".join(lines)
    with contextlib.suppress(LimitExceeded):
        found = notebooks.examine(notebook("a = 1\nb = 2", text), "a.ipynb")
        for use in found.script.uses:
            cell, line = found.place(use.line)
            assert cell == 3
            said = use.name.partition(" ")[0].lstrip("%!")
            assert said.rpartition(".")[2] in lines[line - 1]


@given(st.recursive(
    st.none() | st.text(max_size=9) | st.integers(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(
        st.sampled_from(["cells", "cell_type", "source", "worksheets", "metadata", "input"]),
        inner | st.just("code"), max_size=5),
))  # fmt: skip
def test_any_document_is_examined(document: Any) -> None:
    with contextlib.suppress(CheckpointError):
        notebooks.examine(json.dumps(document).encode(), "a.ipynb")

"""What a pickle would import, in three grades."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from steelyard.analyzers import code
from steelyard.analyzers.code.grades import grade as grade_of
from tests import models
from tests.analyzers.facts_of import facts_of
from tests.checkpoints.torch_files import OS_SYSTEM, torch_zip, weight

UNKNOWN = b"csome_package\nrun_me\n)R"


@pytest.mark.parametrize(
    ("name", "grade"),
    [
        ("torch._utils._rebuild_tensor_v2", "rebuilds"),
        ("collections.OrderedDict", "rebuilds"),
        ("builtins.set", "rebuilds"),
        ("builtins.eval", "dangerous"),
        ("os.system", "dangerous"),
        ("posix.system", "dangerous"),
        ("importlib.import_module", "dangerous"),
        ("logging.config.listen", "dangerous"),
        ("torch.hub.load", "dangerous"),
        ("osmium.read", "unknown"),
        ("some_package.run_me", "unknown"),
        ("torch._utils._rebuild_tensor_v2.extra", "unknown"),
    ],
)
def test_grades(name: str, grade: str) -> None:
    assert grade_of(name) == grade


def test_safetensors_hold_no_code(tmp_path: Path) -> None:
    book = facts_of(code.analyze, models.read(models.folder(tmp_path)))
    assert book.value("code.pickle") is False
    assert book.value("code.unsafe") is False
    assert book.value("code.imports") == frozenset()
    assert book.value("code.remote") == frozenset()


def test_a_checkpoint_that_only_rebuilds_tensors(tmp_path: Path) -> None:
    data = torch_zip({"a": weight("0", 2, 3)})
    book = facts_of(code.analyze, models.read(models.write(tmp_path, {"pytorch_model.bin": data})))
    assert book.value("code.pickle") is True
    assert book.value("code.unsafe") is False


def test_a_dangerous_import_is_named_with_its_place(tmp_path: Path) -> None:
    data = b"\x80\x02" + OS_SYSTEM + b"."
    book = facts_of(code.analyze, models.read(models.write(tmp_path, {"pytorch_model.bin": data})))
    assert book.value("code.unsafe") is True
    assert book.value("code.imports") == {"os.system"}
    fact = book.resolve("code.unsafe")
    assert fact is not None
    assert (fact.evidence[0].file, fact.evidence[0].offset) == ("pytorch_model.bin", 2)
    assert fact.evidence[0].quote == 'os.system is called: os.system("true")'


def test_an_unknown_import_settles_nothing_but_is_named(tmp_path: Path) -> None:
    data = b"\x80\x02" + UNKNOWN + b"."
    book = facts_of(code.analyze, models.read(models.write(tmp_path, {"pytorch_model.bin": data})))
    assert "code.unsafe" not in book
    assert book.value("code.imports") == {"some_package.run_me"}


def test_a_pickle_that_was_not_read_to_its_end_is_not_cleared(tmp_path: Path) -> None:
    data = b"\x80\x02ccollections\nOrderedDict\n)R\xff"
    book = facts_of(code.analyze, models.read(models.write(tmp_path, {"pytorch_model.bin": data})))
    assert "code.unsafe" not in book


def test_a_place_within_a_file_is_no_offset_in_it(tmp_path: Path) -> None:
    data = b"\x80\x02" + OS_SYSTEM + b"."
    files = {"a!b.pkl.gz": gzip.compress(data)}
    book = facts_of(code.analyze, models.read(models.write(tmp_path, files)))
    assert book.value("code.calls") == {'os.system("true") in a!b.pkl.gz!gzip at byte 2'}
    fact = book.resolve("code.unsafe")
    assert fact is not None
    (shown,) = fact.evidence
    assert (shown.file, shown.offset, shown.field) == ("a!b.pkl.gz", None, "gzip at byte 2")


def test_what_was_not_examined_to_its_end_is_said(tmp_path: Path) -> None:
    files = {"a.pkl": b"\x80\x02ccollections\nOrderedDict\n)R\xff"}
    book = facts_of(code.analyze, models.read(models.write(tmp_path, files)))
    unread = book.value("code.unread")
    assert isinstance(unread, frozenset)
    (words,) = unread
    assert words.startswith("a.pkl at byte 29: the pickle could not be read further")

"""Files, sizes, formats, and which weights set is the model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from safetensors.numpy import save

from steelyard.analyzers import contents
from tests import models
from tests.analyzers.facts_of import facts_of


def test_one_set(tmp_path: Path) -> None:
    book = facts_of(contents.analyze, models.read(models.folder(tmp_path)))
    assert book.value("files.count") == 3
    assert book.value("weights.present") is True
    assert book.value("weights.main") == "model.safetensors"
    assert book.value("weights.format") == "safetensors"
    assert book.value("weights.encoding") == "F32"
    assert book.value("model.formats") == {"safetensors"}
    assert book.value("adapter.present") is False
    assert book.value("signature.present") is False
    assert book.value("files.escaping") == frozenset()
    assert "weights.other" not in book


def test_several_sets_a_signature_and_an_adapter(tmp_path: Path) -> None:
    files = {
        **models.shards(models.weights(), 2),
        "adapter_model.safetensors": save({"x.lora_A.weight": np.zeros((2, 2), np.float16)}),
        "model.sig": b"{}",
    }
    book = facts_of(contents.analyze, models.read(models.write(tmp_path, files)))
    assert book.value("weights.main") == "model-00001-of-00002.safetensors and 1 more"
    assert book.value("weights.other") == {"adapter_model.safetensors"}
    assert book.value("adapter.present") is True
    assert book.value("signature.present") is True


def test_escaping_links_are_told_apart_from_other_skips(tmp_path: Path) -> None:
    folder = models.folder(tmp_path / "model")
    (folder / "leak.txt").symlink_to("/etc/hostname")
    (folder / "gone.txt").symlink_to("nowhere")
    book = facts_of(contents.analyze, models.read(folder))
    assert book.value("files.escaping") == {"leak.txt"}
    assert book.value("files.skipped") == {"gone.txt"}


def test_no_weights(tmp_path: Path) -> None:
    book = facts_of(contents.analyze, models.read(models.write(tmp_path, {"README.md": b"# x"})))
    assert book.value("weights.present") is False
    assert "weights.main" not in book

"""The same weights give the same comparison, whatever they are kept in and wherever they lie."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from steelyard.checkpoints.model import Model
from steelyard.checkpoints.opening import read_model
from steelyard.lineage.comparing import compare
from steelyard.lineage.reading.weights import StoredWeights
from steelyard.lineage.relation import Comparison, EditKind, EncodingKind, Related
from steelyard.sources.local import open_local
from steelyard.sources.network import Network
from steelyard.sources.opening import open_source
from tests.lineage import containers
from tests.lineage.containers import Arrays, Files
from tests.lineage.laying import Array
from tests.lineage.memory import random_arrays
from tests.models import write
from tests.sources.conftest import network, pauses
from tests.sources.file_server import FileServer
from tests.sources.hub_server import HubServer

__all__ = ["network", "pauses"]

Write = Callable[[Arrays], Files]
LAYERS = (0, 1, 2, 3)


def tuned(seed: int = 1) -> dict[str, Array]:
    """Move every matrix of the base by a twentieth, as a fine-tune does."""
    chance = np.random.default_rng(seed)
    return {
        name: array
        if array.ndim == 1
        else (array + 0.05 * array.std() * chance.standard_normal(array.shape)).astype(np.float32)
        for name, array in random_arrays(0).items()
    }


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Model:
    folder = tmp_path_factory.mktemp("base")
    return opened(folder, containers.one_file(random_arrays(0)))


@pytest.fixture(scope="module")
def reference(base: Model, tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    return compare(base, opened(tmp_path_factory.mktemp("r"), containers.one_file(tuned())))


def opened(folder: Path, files: Files) -> Model:
    return read_model(open_local(str(write(folder, files))))


def names(found: Comparison) -> list[tuple[str, str | None]]:
    return sorted((part.name, part.base) for part in found.related.components)


@pytest.mark.parametrize("container", containers.LOSSLESS)
def test_the_same_weights_are_identical(container: Write, base: Model, tmp_path: Path) -> None:
    found = compare(base, opened(tmp_path, container(random_arrays(0))))
    assert found.related.verdict is Related.RELATED
    assert found.related.layer_map == LAYERS
    assert [edit.kind for edit in found.edits] == [EditKind.IDENTICAL]
    assert found.encoding.kind is EncodingKind.SAME


@pytest.mark.parametrize("container", containers.LOSSLESS)
def test_a_fine_tune_is_one_to_the_last_digit(
    container: Write, base: Model, reference: Comparison, tmp_path: Path
) -> None:
    found = compare(base, opened(tmp_path, container(tuned())))
    assert names(found) == names(reference)
    assert found.related.log10_p == pytest.approx(reference.related.log10_p)
    assert found.related.layer_map == LAYERS
    assert [edit.kind for edit in found.edits] == [edit.kind for edit in reference.edits]
    ours, theirs = (
        {(c.component, c.role): c.relative for c in each.changes} for each in (found, reference)
    )
    assert ours.keys() == theirs.keys()
    for key, change in ours.items():
        assert change == pytest.approx(theirs[key], rel=0.05, abs=1e-6), key


@pytest.mark.parametrize("container", [*containers.CAST, *containers.QUANTIZED])
def test_what_rounds_is_an_encoding_and_no_edit(
    container: Write, base: Model, tmp_path: Path
) -> None:
    found = compare(base, opened(tmp_path, container(random_arrays(0))))
    cast = container in containers.CAST
    assert found.related.verdict is Related.RELATED
    assert found.related.layer_map == LAYERS
    assert found.encoding.kind is (EncodingKind.CAST if cast else EncodingKind.QUANTIZED)
    assert {edit.kind for edit in found.edits} <= {EditKind.IDENTICAL}


@pytest.mark.parametrize("container", [*containers.CAST, *containers.QUANTIZED])
def test_a_fine_tune_is_seen_through_rounding(
    container: Write, base: Model, reference: Comparison, tmp_path: Path
) -> None:
    found = compare(base, opened(tmp_path, container(tuned())))
    assert names(found) == names(reference)
    assert [edit.kind for edit in found.edits] == [edit.kind for edit in reference.edits]


@pytest.mark.parametrize("container", [*containers.NAMELESS, *containers.QUANTIZED])
def test_strangers_stay_strangers(container: Write, base: Model, tmp_path: Path) -> None:
    found = compare(base, opened(tmp_path, container(random_arrays(8))))
    assert found.related.verdict is Related.NOT_FOUND
    assert found.related.log10_p > -4


@pytest.mark.parametrize("container", [*containers.NAMELESS, containers.onnx_int8])
@pytest.mark.parametrize("both", [False, True])
def test_a_base_without_names_is_found_as_well(
    container: Write, both: bool, reference: Comparison, tmp_path: Path
) -> None:
    base = opened(tmp_path / "base", container(random_arrays(0)))
    child = opened(tmp_path / "child", (container if both else containers.one_file)(tuned()))
    found = compare(base, child)
    assert found.related.verdict is Related.RELATED
    assert found.related.log10_p < -80
    if not both:
        # Where neither has names, matrices are told of one by one, or not at all.
        assert names(found) == names(reference)
    assert [edit.kind for edit in found.edits] == [edit.kind for edit in reference.edits]


NAMED = [c for c in containers.LOSSLESS if c not in containers.NAMELESS]


@pytest.mark.parametrize("container", [*NAMED, *containers.CAST])
def test_every_container_gives_the_same_numbers(container: Write, tmp_path: Path) -> None:
    arrays = random_arrays(0)
    files = container(arrays)
    with StoredWeights(opened(tmp_path, files)) as weights:
        assert weights.layers == tuple(f"layers.{n}" for n in LAYERS)
        assert weights.unreadable == ()
        again = opened(tmp_path / "plain", containers.one_file(arrays))
        with StoredWeights(again) as plain:
            wanted = {(m.role, m.layer, m.part): m for m in plain.matrices()}
            found = {(m.role, m.layer, m.part): m for m in weights.matrices()}
            assert found.keys() == wanted.keys()
            loose = 0.01 if container in containers.CAST else 0.0
            for key, matrix in found.items():
                same = wanted[key].whole()
                np.testing.assert_allclose(matrix.whole(), same, rtol=loose, atol=loose)
                assert (
                    np.array_equal(matrix.rows(7, 9), matrix.whole()[7:16])
                    or matrix.shape[1:] == ()
                )


# --- from afar ---------------------------------------------------------------------------------


HUB: dict[str, Write] = {
    "one": containers.one_file,
    "many": containers.sharded,
    "gguf": containers.gguf_q8_0,
    "torch": containers.torch_zip,
}


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubServer]:
    with HubServer(
        {f"org/{name}": write(tmp_path / name, kept(tuned())) for name, kept in HUB.items()}
    ) as server:
        yield server


@pytest.mark.local_server
@pytest.mark.allow_hosts(["127.0.0.1"])
@pytest.mark.parametrize("name", HUB)
def test_a_model_on_a_hub_is_compared_as_one_on_disk(
    name: str, base: Model, reference: Comparison, hub: HubServer, network: Network
) -> None:
    source = open_source(f"hf://org/{name}", network=replace(network, endpoint=hub.endpoint))
    found = compare(base, read_model(source))
    assert names(found) == names(reference)
    assert [edit.kind for edit in found.edits] == [edit.kind for edit in reference.edits]
    source.close()


@pytest.mark.local_server
@pytest.mark.allow_hosts(["127.0.0.1"])
def test_a_file_on_a_server_is_read_by_ranges(
    base: Model, reference: Comparison, network: Network
) -> None:
    arrays = tuned()
    arrays["lm_head.weight"] = np.tile(arrays["lm_head.weight"], (40, 1))
    data = containers.one_file(arrays)["model.safetensors"]
    with FileServer({"/model.safetensors": data}) as server:
        source = open_source(server.url("/model.safetensors"), network=network)
        found = compare(base, read_model(source))
        assert found.related.verdict is Related.RELATED
        assert found.related.layer_map == reference.related.layer_map
        assert source.bytes_read < len(data) / 2
        source.close()

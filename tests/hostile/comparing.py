"""Compare models that should not be, and tell whether that is refused as it should be."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest

from steelyard.checkpoints.opening import read_model
from steelyard.errors import CheckpointError, SourceError, SteelyardError
from steelyard.lineage.comparing import compare
from steelyard.lineage.relation import Comparison
from steelyard.reports.pairs import html, markdown, text
from steelyard.reports.pairs import json as json_report
from steelyard.reports.pairs.words import PairReport
from steelyard.sources import Network, open_source
from tests.containers import as_safetensors, model_folder
from tests.lineage.memory import random_arrays

Arrays = dict[str, np.ndarray[Any, Any]]
LONGEST_S = 60.0
"""Far beyond what any of these takes, on a machine that does much else."""
EMBEDDING = "model.embed_tokens.weight"
UP = "model.layers.1.mlp.up_proj.weight"
BASE = random_arrays(1)
OFFLINE = Network(offline=True)
SHAPE = jsonschema.Draft202012Validator(json.loads(json_report.shipped_schema()))


def folder(place: Path, arrays: Arrays, **given: Any) -> Path:
    """Write a model as safetensors, without its documents unless they are asked for."""
    files = {"config": None, "card": None, "license_text": None, **given}
    return model_folder(place, weights=as_safetensors(arrays), **files)


def compared(
    base: Path | str, child: Path | str, *candidates: Path, network: Network = OFFLINE
) -> Comparison:
    """Compare two models and write the comparison in every format, in time."""
    began = time.monotonic()
    with ExitStack() as stack:
        models = []
        for spec in (base, child, *candidates):
            source = open_source(str(spec), network=network)
            stack.callback(source.close)
            models.append(read_model(source))
        others = {str(path): model for path, model in zip(candidates, models[2:], strict=True)}
        said = compare(models[0], models[1], candidates=others, names=("base", "child"))
    write_everywhere(said)
    assert time.monotonic() - began < LONGEST_S
    return said


def write_everywhere(said: Comparison) -> None:
    """Write a comparison in every format: JSON as its schema says, no control character."""
    report = PairReport(said, "0.0.0")
    SHAPE.validate(json.loads(json_report.render(report)))
    for render in (text.render, markdown.render, html.render):
        assert "\x1b" not in render(report)


def refused(act: Callable[[], object]) -> bool:
    """Act; tell whether it was refused, which must then be explained."""
    try:
        act()
    except SteelyardError as error:
        known = isinstance(error, SourceError | CheckpointError)
        if not (known and error.what and (error.file or error.fix)):
            pytest.fail(f"an error that does not say enough: {error!r}")
        return True
    return False

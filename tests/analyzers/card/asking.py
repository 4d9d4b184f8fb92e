"""Ask the analyzer of cards about a card, and one card to ask about."""

from __future__ import annotations

from steelyard.analyzers import card
from steelyard.checkpoints.model import Model
from steelyard.facts import Evidence, FactBook
from tests.analyzers.facts_of import facts_of

EMBEDDER = """\
---
language: en
license: apache-2.0
library_name: sentence-transformers
tags:
- sentence-similarity
datasets:
- acme/pairs
- questions
pipeline_tag: sentence-similarity
---

# tiny-embedder

A small encoder that maps sentences to vectors of 384 numbers, for search and clustering.

## Usage

```python
# Limitations
model = load("tiny-embedder")
```

## Intended uses

For short English texts.

## Training procedure

### Hyperparameters

Trained for 100k steps.
"""


def ask(given_model: Model) -> FactBook:
    return facts_of(card.analyze, given_model)


def evidence(book: FactBook, name: str) -> Evidence:
    fact = book.resolve(name)
    assert fact is not None
    return fact.evidence[0]

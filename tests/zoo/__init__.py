"""Ground truth for lineage: tiny models trained for real, and all that may be done to them.

Training needs torch (`pip install --group zoo`); nothing here is collected by pytest. See
`benchmarks/lineage_accuracy.py`, which scores it, and `python -m tests.zoo.score`.
"""

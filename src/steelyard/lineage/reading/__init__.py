"""Weights of any container by their role, row by row."""

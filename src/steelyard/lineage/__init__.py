"""Whose weights are these: relatedness with a guarantee, and what was done, from few bytes."""

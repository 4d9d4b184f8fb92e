"""Whose weights these are: what they show, beside what documents say."""

"""Steelyard: what an open-weight AI model is, and what follows from it."""

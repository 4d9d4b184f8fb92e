"""One module for each question asked of a model; each yields facts."""

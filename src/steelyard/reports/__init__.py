"""One module for each output format; each renders a report."""

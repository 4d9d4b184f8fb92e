"""What changes on which day for one model: for a terminal, as Markdown and JSON."""

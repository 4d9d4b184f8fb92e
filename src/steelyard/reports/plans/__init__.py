"""A plan, written for a terminal, as Markdown, as JSON and as a calendar."""

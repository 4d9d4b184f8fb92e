"""Laws side by side and over time: for a terminal, as Markdown, HTML and JSON."""

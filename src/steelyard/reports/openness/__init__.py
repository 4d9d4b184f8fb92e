"""What is open, written for a terminal, as Markdown, as JSON and for the Model Openness Tool."""

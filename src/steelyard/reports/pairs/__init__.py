"""A comparison of two models: for a terminal, as Markdown, HTML and JSON.

`words` says what is told, `edits` what was done, `picture` how far each layer is from the base's;
`text`, `markdown` and `html` draw these, and `json` writes everything as data.
"""

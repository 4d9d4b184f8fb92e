"""Whether two models share an origin, part by part, and how sure that is."""

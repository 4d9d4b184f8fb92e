"""Known models: the registry that finds relatives among them."""

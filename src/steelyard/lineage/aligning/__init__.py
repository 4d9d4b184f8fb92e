"""What stands beside what in two models, where it does not lie in order."""

"""What was done to a base: one module for each kind of edit, each from aligned samples."""

"""What law says of facts: one set in full, or a table with one row for each."""

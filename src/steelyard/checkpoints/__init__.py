"""How bytes become tensors and documents: headers first, data on demand."""

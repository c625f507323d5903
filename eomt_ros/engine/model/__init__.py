"""Models: checkpoint, weights, family, labels, and where they come from."""

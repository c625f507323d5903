"""A bag through the real node, to scores."""

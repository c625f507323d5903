"""Plays a bag through the real node and scores the results."""

"""Predictions in the formats, and by the metrics, of other people's programs."""

"""Mask and class logits to the segments of a frame."""

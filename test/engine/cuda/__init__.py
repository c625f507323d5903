"""Tests of what is done otherwise on a GPU, with the GPU left out."""

"""Tests of the metrics, by hand-counted cases and beside plain, slow programs written from the definitions."""

# One reference is torchmetrics, which imports torchvision; this lets it, where torchvision lacks its operators.
import test.engine  # noqa: F401

"""Speed and memory beside the reference, Hugging Face's VidEoMT, on the same weights and frames in the same run."""

import test.engine  # noqa: F401  (before transformers: it makes up for a torchvision that cannot load its operators)

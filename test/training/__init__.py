"""Tests of training, some of them against Hugging Face's `transformers`, whose models import torchvision."""

from eomt_ros.engine.networks.mask2former import tolerate_torchvision

tolerate_torchvision()

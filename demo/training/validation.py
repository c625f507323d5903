"""Figures of a network on unseen worlds while it is trained; `python -m demo.evaluate` measures the finished one."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from demo import CLASS_NAMES
from demo.training.dataset import NUM_STUFF, RATE, Clip
from demo.training.recipe import NUM_CLASSES
from demo.training.streams import SIDE, normalise, resize
from eomt_ros.engine.networks import Videomt


@torch.no_grad()
def validate(network: Videomt, clips: list[Clip]) -> str:
    """Plays unseen clips with the queries carried; mean IoU, share of things found, and changes of query per 30
    object-seconds.
    """
    confusion = torch.zeros(NUM_CLASSES, NUM_CLASSES)
    shown = found = switches = 0
    for clip in clips:
        queries = network.first_queries()
        query_of: dict[int, int] = {}
        for image, labels in zip(clip.images, clip.segments, strict=True):
            pixels = resize(torch.from_numpy(image.copy()).permute(2, 0, 1)[None])
            output = network(normalise(pixels.float()), queries)
            queries = output.next_queries
            segments = F.interpolate(
                torch.from_numpy(labels.copy())[None, None], (SIDE // 4, SIDE // 4), mode="nearest-exact"
            )
            segments = segments[0, 0].long()
            truth = torch.from_numpy(clip.classes).long()[segments]
            masks = output.mask_logits[0].sigmoid()
            scores = output.class_logits[0].softmax(-1)
            predicted = torch.einsum("qc,qhw->chw", scores[:, :-1], masks).argmax(0)
            confusion += torch.bincount(
                truth.flatten() * NUM_CLASSES + predicted.flatten(), minlength=NUM_CLASSES**2
            ).view(NUM_CLASSES, NUM_CLASSES)
            owner = (scores.max(-1).values[:, None, None] * masks).argmax(0)
            for thing in segments.unique().tolist():
                mask = segments == thing
                if thing < NUM_STUFF or mask.sum() < 12:
                    continue
                shown += 1
                query = int(owner[mask].mode().values)
                shape = owner == query
                right_class = int(scores[query].argmax()) == int(clip.classes[thing])
                if right_class and (shape & mask).sum() > 0.5 * (shape | mask).sum():
                    found += 1
                    switches += int(query_of.get(thing, query) != query)
                    query_of[thing] = query
    iou = confusion.diag() / (confusion.sum(0) + confusion.sum(1) - confusion.diag()).clamp(min=1)
    by_class = " ".join(f"{name} {value:.2f}" for name, value in zip(CLASS_NAMES, iou.tolist(), strict=True))
    followed = max(found, 1) / RATE
    switching = f"switches {30 * switches / followed:.2f} / 30 s"
    return f"mIoU {iou.mean():.3f} ({by_class}), found {found / max(shown, 1):.2f}, {switching}"

"""`python -m bench.page`: the table of docs/benchmarks.md, from the measured rows in bench/results."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bench.table import RESULTS

PAGE = Path(__file__).parent.parent / "docs" / "benchmarks.md"
MEASURED = RESULTS / "amd-epyc-family-25-model-17-2-cores.json"
BEGIN, END = "<!-- python -m bench.page writes what follows -->\n", "<!-- until here -->\n"

LARGE = "1920x1080"
SHOWN = {
    f"post-processing, {LARGE}, panoptic, blobs": f"post-processing, {LARGE}, 12 of 200 queries kept: panoptic",
    f"post-processing, {LARGE}, instance, blobs": "instance",
    f"post-processing, {LARGE}, semantic, blobs": "semantic, 124 classes",
    f"post-processing, {LARGE}, panoptic, noise": "the same on noise, the worst case: panoptic",
    f"post-processing, {LARGE}, instance, noise": "instance",
    f"post-processing, {LARGE}, semantic, noise": "semantic",
    f"post-processing, {LARGE}, semantic, blobs, no class sure": "semantic where no class is sure: blobs",
    f"post-processing, {LARGE}, semantic, noise, no class sure": "noise",
    f"post-processing, {LARGE}, EoMT, panoptic": f"post-processing of EoMT, {LARGE}: panoptic",
    f"post-processing, {LARGE}, EoMT, instance": "instance",
    f"post-processing, {LARGE}, EoMT, semantic": "semantic, 150 classes, two windows",
    f"post-processing, {LARGE}, Mask2Former, panoptic": f"post-processing of Mask2Former, {LARGE}: panoptic",
    f"post-processing, {LARGE}, Mask2Former, instance": "instance",
    f"post-processing, {LARGE}, Mask2Former, semantic": "semantic",
    "network step, ViT-S 640": "network step, 640x640: ViT-S as published",
    "network step, ViT-S 640, exported": "ViT-S, exported",
    "network step, ViT-B 640, exported": "ViT-B, exported",
    "network step, ViT-L 640, exported": "ViT-L, exported",
    f"whole frame, {LARGE}, ViT-S 640, panoptic": f"whole frame, {LARGE}, ViT-S as published: panoptic",
    f"whole frame, {LARGE}, ViT-S 640, instance": "instance",
    f"whole frame, {LARGE}, ViT-S 640, semantic": "semantic",
    f"whole frame, {LARGE}, ViT-S 640, exported, panoptic": f"whole frame, {LARGE}, ViT-S, exported: panoptic",
    f"whole frame, {LARGE}, ViT-S 640, exported, instance": "instance",
    f"whole frame, {LARGE}, ViT-S 640, exported, semantic": "semantic",
    f"whole frame, {LARGE}, ViT-S 640, exported, size 224, panoptic": "panoptic, at `size: 224`, beside its own 640 "
    "(in the third column)",
    f"whole frame, {LARGE}, demo, panoptic": f"whole frame, {LARGE}, `demo`, panoptic",
    f"recording, {LARGE}, demo, two frames at once": f"20 frames of a recording, {LARGE}, `demo`, two at once "
    "beside one after the other (in the third column)",
    f"network step, ViT-S, keep_aspect, {LARGE}, YouTube-VIS": f"`fit: keep_aspect` beside `stretch` (in the third "
    f"column), network step of ViT-S, {LARGE}: 800x448 beside 640x640",
    f"network step, ViT-S, keep_aspect, {LARGE}, VIPSeg": "1280x736 beside 1280x1280",
    f"network step, ViT-S 640, exported, keep_aspect, {LARGE}": "ViT-S, exported: 800x448 beside 640x640",
    "node beyond the engine, 640x480, raw, profile": "stamp of the image to received panoptic image, beyond the "
    "engine: 640x480 raw",
    f"node beyond the engine, {LARGE}, raw, profile": f"{LARGE} raw",
    "node beside the engine's own loop, demo, 640x480": "node beside the engine alone (in the third column), `demo`: "
    "640x480",
    "node, demo, 424x240": "424x240",
    "node start-up, demo, 424x240": "from the node's start to its first label image, `demo`",
    "4 cameras in one node, demo, 640x480, beside a node each": "4 cameras of 640x480 in one node, and in four nodes "
    "(in the third column), `demo`: time per image",
    "memory of a node with 4 cameras beside one with 1": "memory of a node with 4 cameras, on top of one with 1",
    "shares of 4 cameras in an overloaded node": "share of each of 4 cameras in an overloaded node, beside a quarter",
    "latency of a 10 Hz camera beside 3 silent ones": "stamp of the image to received panoptic image of a 10 Hz "
    "camera, beside 3 silent ones and alone (in the third column)",
    "4 cameras in a batch, each beside itself alone": "pixels that differ between 4 cameras in a batch and each alone, "
    "in float32",
    "points, obstacles and objects, 640x480, 12 things": "from depth to points, obstacles and objects, 640x480, 12 "
    "things, beside a plain NumPy loop over the things (in the third column)",
    "points, obstacles and objects, 640x480, 12 things, beside a plain loop": "the same, how many times as fast",
    "node with depth that nobody wants, demo, 640x480": "stamp of the image to received panoptic image, with depth of "
    "which nobody wants anything, and without depth (in the third column)",
    "evaluation, demo bag, beside the engine": "an evaluation of the demo bag beside the engine alone (in the third "
    "column)",
    "memory over 10000 frames": "growth of memory over 10,000 frames: engine",
    "memory of an evaluation over 10000 frames": "evaluation",
}
"""Rows of `make bench` -> their names on the page, in its order."""


def filled(page: str) -> str:
    """The page's text with the table of the measured rows in its place."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    rows = {row["name"]: row for row in json.loads(MEASURED.read_text())}
    machine = rows["machine"]
    lines = [
        f"{machine['processor']}, {machine['cores']} cores, {machine['features']}; torch {machine['torch']}.",
        "",
        "| | our network runs in | ours | Hugging Face | ratio (lowest - highest) | target |",
        "| --- | --- | --- | --- | --- | --- |",
        *(_line(text, rows[name]) for name, text in SHOWN.items() if name in rows),
    ]
    return before + BEGIN + "\n" + "\n".join(lines) + "\n\n" + END + after


def _line(text: str, row: dict[str, Any]) -> str:
    ours = _ms(row["ours_ms"])
    if row["growth_mib"] is not None:
        ours = f"{row['growth_mib']:.1f} MiB"
    elif row.get("differing") is not None:
        ours = f"{row['differing']:,}"
    ratio = ""
    if row["ratio"] is not None:
        middle, low, high = (_short(row[name]) for name in ("ratio", "ratio_low", "ratio_high"))
        ratio = f"{middle} ({low} - {high})"
    target = f"{row['target']}{'' if row['met'] else ', missed'}" if row["target"] else ""
    return f"| {text} | {row.get('runs', '')} | {ours} | {_ms(row['reference_ms'])} | {ratio} | {target} |"


def _ms(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f} ms" if value >= 10 else f"{value:.1f} ms"


def _short(ratio: float) -> str:
    return f"{ratio:.0f}" if ratio >= 10 else f"{ratio:.2f}"


def write() -> None:
    """Writes the page anew."""
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    print(f"written to {PAGE}")


if __name__ == "__main__":
    write()

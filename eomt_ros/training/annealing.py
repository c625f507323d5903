"""Annealing of masked attention: the joint blocks lose their masks one after another, until the network runs as it is
used, without any (EoMT, Kerssies et al., CVPR 2025).
"""

from __future__ import annotations

BEGINS, ENDS = 1 / 6, 5 / 6
"""Shares of a run at which the first block begins to lose its masks, and the last has lost them."""
LASTS = 1 / 6
"""Share of a run in which one block loses them."""


def annealed_masking(share: float, blocks: int, power: float = 0.9) -> tuple[float, ...]:
    """The probability of masked attention in each joint block, the first one first.

    share: of the run that is over, 0 to 1. power: of the fall from 1 to 0.
    Source: the configurations of tue-mps/eomt (`attn_mask_annealing_start_steps`) and its `mask_annealing`; with 3
    blocks there is a pause from one to the next, with more than 4 they overlap.
    """
    apart = (ENDS - LASTS - BEGINS) / max(blocks - 1, 1)
    lost = ((share - BEGINS - apart * block) / LASTS for block in range(blocks))
    return tuple((1 - min(max(part, 0.0), 1.0)) ** power for part in lost)

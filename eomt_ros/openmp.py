"""Lets torch's threads sleep while they wait for work; to be called before torch is loaded."""

import os


def wait_asleep() -> None:
    """Keeps OpenMP's threads from spinning while they wait, unless the user has chosen.

    They wait dozens of times a frame. Where another program wants the processor, a thread that spins takes it from the
    one that is waited for, and a frame takes ten times as long.
    """
    if "GOMP_SPINCOUNT" not in os.environ:
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

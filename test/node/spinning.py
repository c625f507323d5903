"""Serves a node's callbacks beside a program that does something else."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.task import Future

from test.patience import PATIENCE


@contextmanager
def spinning(*nodes: Node) -> Iterator[None]:
    """Serve the nodes, which share a context, in a thread of their own within the `with` block."""
    executor = SingleThreadedExecutor(context=nodes[0].context)
    for node in nodes:
        executor.add_node(node)
    asked_to_finish: Future[None] = Future()

    # The executor is shut down in the thread that spins it. From another one rclpy takes the guard conditions away that
    # would wake the spinning thread, which then, if it was just about to wait, waits for ever or fails.
    def serve() -> None:
        try:
            executor.spin_until_future_complete(asked_to_finish)
        finally:
            executor.shutdown()

    thread = threading.Thread(target=serve, name="spinner", daemon=True)
    thread.start()
    try:
        yield
    finally:
        asked_to_finish.set_result(None)
        thread.join(PATIENCE)

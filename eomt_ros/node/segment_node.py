"""The process of the lifecycle node `segment`: its start, its signals and its end."""

from __future__ import annotations

import faulthandler
import logging
import os
import signal
import sys
import threading
from typing import NoReturn

import rclpy
from rclpy.exceptions import ParameterException
from rclpy.executors import SingleThreadedExecutor
from rclpy.signals import SignalHandlerOptions
from rclpy.task import Future

from eomt_ros.node.fast_dds import free_shared_memory_of_the_dead
from eomt_ros.node.lifecycle import EXIT_TIMEOUT, SegmentNode
from eomt_ros.node.log import RosLogHandler
from eomt_ros.node.parameters import ParameterError
from eomt_ros.openmp import wait_asleep
from eomt_ros.signalled_event import SignalledEvent

EXIT_LIMIT = 20.0  # s from the signal to the end of the process, whatever hangs


class Spinner(threading.Thread):
    """Runs the node's callbacks, so that the main thread is free to react to a signal at any moment.

    `ended` is set at the end; `failed` is True then if nobody had asked for it.
    """

    def __init__(self, node: SegmentNode, ended: SignalledEvent) -> None:
        super().__init__(name="spinner", daemon=True)
        self.failed = False
        self._node = node
        self._ended = ended
        self._asked_to_finish: Future[None] = Future()

    def run(self) -> None:
        """Autostart if wanted, then serve until asked to finish."""
        executor = SingleThreadedExecutor()
        executor.add_node(self._node)
        try:
            if not self._node.parameters.autostart:
                self._node.get_logger().info("autostart is off: waiting for a lifecycle transition")
            elif not self._node.autostart():
                return
            executor.spin_until_future_complete(self._asked_to_finish)
        finally:
            executor.shutdown()
            self.failed = not self._asked_to_finish.done()
            self._ended.set()
            self._node.presence.leave()

    def finish(self) -> None:
        """End the thread, or keep it in its work if it is in any."""
        self._asked_to_finish.set_result(None)
        self._node.presence.end(EXIT_TIMEOUT)


def main(args: list[str] | None = None) -> NoReturn:
    """Run the node until SIGINT or SIGTERM and end the process: exit code 1 if it could not start, else 0."""
    wait_asleep()
    stop = SignalledEvent()

    def ask_to_end(*_: object) -> None:
        # It needs no lock of Python's: in one end of thousands, on a busy machine, something hangs in C++.
        faulthandler.dump_traceback_later(EXIT_LIMIT, exit=True)
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, ask_to_end)
    free_shared_memory_of_the_dead()
    try:
        rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
        node = SegmentNode()
    except (ParameterException, ParameterError, RuntimeError) as error:  # RuntimeError: how rclpy refuses its arguments
        sys.exit(f"segment_node: {error}")
    engine_log = logging.getLogger("eomt_ros")
    engine_log.addHandler(RosLogHandler(node.get_logger()))
    engine_log.setLevel(logging.INFO)

    spinner = Spinner(node, stop)
    spinner.start()
    stop.wait()
    spinner.finish()
    node.destroy_node()
    rclpy.try_shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    # All that others could notice is closed. Loading or a frame in work cannot be interrupted, and the interpreter's
    # own end would crash in them, or take seconds to take torch apart.
    os._exit(1 if spinner.failed else 0)


if __name__ == "__main__":
    main()

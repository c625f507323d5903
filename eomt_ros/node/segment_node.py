"""The process of the lifecycle node `segment`: its start, its signals and its end."""

from __future__ import annotations

import faulthandler
import logging
import os
import signal
import sys
import threading
from contextlib import suppress
from typing import NoReturn

import rclpy
from rclpy.exceptions import ParameterException
from rclpy.executors import SingleThreadedExecutor
from rclpy.signals import SignalHandlerOptions
from rclpy.task import Future

from eomt_ros.node.c_timer import call_later
from eomt_ros.node.fast_dds import free_shared_memory_of_the_dead, own_shared_memory
from eomt_ros.node.lifecycle import EXIT_TIMEOUT, SegmentNode
from eomt_ros.node.log import RosLogHandler
from eomt_ros.node.parameters import ParameterError
from eomt_ros.openmp import wait_asleep
from eomt_ros.signalled_event import SignalledEvent

EXIT_LIMIT = 20.0  # s from the signal to the end of the process, whatever hangs
LEAVE_LIMIT = 3.0  # s for the middleware alone, when nothing of the node is left


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
        # It needs no lock of Python's, which may be held by what hangs in C++.
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
    _end_without_the_middleware(LEAVE_LIMIT, int(spinner.failed))
    node.leave()
    rclpy.try_shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    # All that others could notice is closed. Loading or a frame in work cannot be interrupted, and the interpreter's
    # own end would crash in them, or take seconds to take torch apart.
    os._exit(int(spinner.failed))


def _end_without_the_middleware(delay: float, code: int) -> None:
    """End the process in `delay` seconds, if nothing else has by then, and remove what it has in shared memory.

    In one end of thousands, on a busy machine, Fast DDS (3.2.3, and the code of 3.6.2 is the same) waits for ever, in
    C++ and with Python's lock: where it does not get the lock of its own port in shared memory for a second, it never
    tells the thread that listens there to end (`close_listener` in SharedMemGlobal.hpp), and joins it.
    """
    with suppress(OSError):  # then EXIT_LIMIT ends it
        for path in own_shared_memory():
            call_later(delay, "unlink", os.fsencode(path))
        call_later(delay + 0.2, "_exit", code)


if __name__ == "__main__":
    main()

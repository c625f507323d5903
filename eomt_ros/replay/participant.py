"""A node of a program that does something else too: its callbacks run while the program waits."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import rclpy
from lifecycle_msgs.srv import ChangeState
from rcl_interfaces.srv import GetParameters
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import parameter_value_to_python
from rclpy.signals import SignalHandlerOptions

from eomt_ros.node.fast_dds import free_shared_memory_of_the_dead

LOOK_EVERY = 0.1  # s between two looks at what is waited for, where no message comes


class Participant:
    """A node of that name in a ROS graph, which it leaves at the end of the `with` block.

    arguments: those of the command line, for what is remapped; signals stay with the program.
    """

    def __init__(self, name: str, arguments: list[str] | None = None) -> None:
        free_shared_memory_of_the_dead()
        rclpy.init(args=arguments, signal_handler_options=SignalHandlerOptions.NO)
        self.node = Node(name, start_parameter_services=False)
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self.node)

    def __enter__(self) -> Participant:
        return self

    def __exit__(self, *_: object) -> None:
        self._executor.shutdown()
        self.node.destroy_node()
        rclpy.try_shutdown()

    def serve(self, until: Callable[[], bool], patience: float = math.inf) -> bool:
        """Run callbacks until `until` is true (returns True) or `patience` seconds are over (False)."""
        deadline = time.monotonic() + patience
        while not (done := until()) and time.monotonic() < deadline:
            self._executor.spin_once(timeout_sec=LOOK_EVERY)
        return done

    def parameters_of(self, node: str, names: list[str], patience: float) -> dict[str, Any]:
        """The values of another node's parameters; empty where it does not answer."""
        response = self._ask(GetParameters, f"{node}/get_parameters", GetParameters.Request(names=names), patience)
        if response is None:
            return {}
        return dict(zip(names, map(parameter_value_to_python, response.values), strict=True))

    def change_state(self, node: str, transition: str, patience: float) -> bool:
        """Ask a lifecycle node for a transition, such as configure, and say whether it succeeded."""
        request = ChangeState.Request()
        request.transition.label = transition
        response = self._ask(ChangeState, f"{node}/change_state", request, patience)
        return response is not None and bool(response.success)

    def _ask(self, kind: type[Any], service: str, request: Any, patience: float) -> Any:
        client = self.node.create_client(kind, service)
        try:
            if not self.serve(client.service_is_ready, patience):
                return None
            answer = client.call_async(request)
            return answer.result() if self.serve(answer.done, patience) else None
        finally:
            self.node.destroy_client(client)

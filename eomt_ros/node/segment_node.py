"""The lifecycle node `segment`: its transitions, parameters, services and diagnostics, and the process it runs in."""

from __future__ import annotations

import dataclasses
import logging
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.msg import SetParametersResult
from rclpy.clock import Clock, ClockType
from rclpy.exceptions import ParameterException
from rclpy.executors import SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode, TransitionCallbackReturn
from rclpy.qos import QoSProfile
from rclpy.signals import SignalHandlerOptions
from rclpy.task import Future
from std_srvs.srv import SetBool, Trigger

from eomt_ros.errors import UserError
from eomt_ros.model_options import ModelOptions, rules_of
from eomt_ros.node.diagnostics import SILENCE, Activity, Reporter
from eomt_ros.node.fast_dds import free_shared_memory_of_the_dead
from eomt_ros.node.inputs import Arrival, Input, topic_of
from eomt_ros.node.log import RosLogHandler, SparingLog
from eomt_ros.node.mailbox import Mailbox
from eomt_ros.node.parameters import ParameterError, Parameters, changed, check_change, declare
from eomt_ros.node.presence import Presence
from eomt_ros.node.qos import QosOverrides
from eomt_ros.node.statistics import Drop, Statistics
from eomt_ros.openmp import wait_asleep

if TYPE_CHECKING:
    from rclpy.lifecycle.node import LifecycleState
    from rclpy.parameter import Parameter

    from eomt_ros.engine import Segmenter, Stream
    from eomt_ros.node.outputs import ResultPublisher
    from eomt_ros.node.worker import Worker

WARM_UP_SIZE = (480, 640)  # height, width: any will do, the network has its own
EXIT_TIMEOUT = 2.0  # s that a thread gets to come out of ROS when the process is to end


@dataclass(frozen=True)
class Configured:
    """The model, its stream and its output topics: from configure to cleanup."""

    segmenter: Segmenter
    stream: Stream
    outputs: ResultPublisher


@dataclass(frozen=True)
class Active:
    """The way of an image from the subscription to the worker: from activate to deactivate."""

    input: Input
    mailbox: Mailbox[Arrival]
    worker: Worker


class SegmentNode(LifecycleNode):
    """Segments the images of one camera.

    unconfigured -> configure: loads the model -> inactive -> activate: listens and processes -> active;
    deactivate and cleanup undo the same. While active, the network runs whether anybody subscribes or not, because ids
    would not last otherwise; ~/enable pauses it.
    """

    def __init__(self) -> None:
        super().__init__("segment")
        self.parameters = declare(self)
        self._overrides = QosOverrides(self)
        self.presence = Presence()
        """Of the thread that serves the node."""
        self._enabled = True
        self._configured: Configured | None = None
        self._active: Active | None = None
        self._statistics = Statistics()
        self.add_on_set_parameters_callback(self._set_parameters_callback)
        self.create_service(Trigger, "~/reset", self._reset_callback)
        self.create_service(SetBool, "~/enable", self._enable_callback)
        self._log = SparingLog(self.get_logger())
        self._silence_told = False
        qos = self._overrides.of_publisher("/diagnostics", QoSProfile(depth=10))
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", qos)
        self._reporter = Reporter(f"{self.get_fully_qualified_name().lstrip('/')}: segmentation")
        # Not the node's clock: with use_sim_time that one stands still until somebody publishes /clock.
        self.create_timer(1.0, self._diagnostics_callback, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def autostart(self) -> bool:
        """Configure and activate, and say whether that worked; the reason is in the log if it did not."""
        succeeded = TransitionCallbackReturn.SUCCESS
        return self.trigger_configure() == succeeded and self.trigger_activate() == succeeded

    def destroy_node(self) -> None:
        """Leave the network and what is shared with it, without waiting for a frame in work or a model that loads."""
        if self._active is not None:
            self._active.worker.abandon(EXIT_TIMEOUT)
        super().destroy_node()
        # rclpy forgets it, and as long as it is there Fast DDS keeps its shared memory.
        self._state_machine.destroy_when_not_in_use()

    # Lifecycle transitions

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the model and offer the output topics."""
        return self._try("configure", self._configure)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Begin to listen and to process images."""
        return self._try("activate", self._activate)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop listening and processing, at the end of the frame in work."""
        self._deactivate()
        return TransitionCallbackReturn.SUCCESS

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Withdraw the output topics and free the model."""
        self._clean_up()
        return TransitionCallbackReturn.SUCCESS

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop and free everything, from any state."""
        self._deactivate()
        self._clean_up()
        return TransitionCallbackReturn.SUCCESS

    on_error = on_shutdown

    def _try(self, transition: str, step: Callable[[], None]) -> TransitionCallbackReturn:
        # All exceptions, because rclpy turns them into a transition that fails without a word.
        try:
            step()
        except Exception as error:
            self.get_logger().error(f"cannot {transition}: {_explanation(error)}")
            return TransitionCallbackReturn.FAILURE
        return TransitionCallbackReturn.SUCCESS

    def _configure(self) -> None:
        chosen = self.parameters
        self.get_logger().info(f"loading the model {chosen.model}")
        with self.presence.away():
            segmenter = _load(chosen)
            from eomt_ros.node.outputs import ResultPublisher
        outputs = ResultPublisher(self, segmenter, chosen.depth, self._overrides)
        self._configured = Configured(segmenter, segmenter.open_stream(), outputs)
        self._statistics = Statistics()
        self._apply_parameters()
        classes = len(segmenter.labels.class_names)
        self.get_logger().info(f"configured: {segmenter.name}, {segmenter.task}, {classes} classes, {segmenter.device}")

    def _activate(self) -> None:
        from eomt_ros.node.worker import Worker

        configured = self._configured
        assert configured is not None  # or the state machine would not have let us come here
        mailbox: Mailbox[Arrival] = Mailbox(self.parameters.capacity)
        worker = Worker(
            configured.stream,
            mailbox,
            configured.outputs,
            self._statistics,
            lambda: self.parameters,
            self.get_logger(),
        )
        configured.outputs.publish_label_info()
        subscription = Input(
            self,
            configured.stream.admit,
            mailbox,
            self._statistics,
            lambda: self.parameters,
            lambda: self._enabled,
            self._overrides,
        )
        self._overrides.warn_of_unused()
        self._active = Active(subscription, mailbox, worker)
        self._statistics.restart_silence()
        worker.start()
        self.get_logger().info(f"active: waiting for images on {subscription.topic}")

    def _deactivate(self) -> None:
        if self._active is None or self._configured is None:
            return
        self._active.input.destroy()
        with self.presence.away():
            self._active.worker.stop()
        self._active = None
        # What comes after the pause is another scene, and its ids must not be taken for those of this one.
        self._configured.stream.reset()

    def _clean_up(self) -> None:
        if self._configured is None:
            return
        self._configured.outputs.destroy()
        self._configured.segmenter.close()
        self._configured = None

    # Parameters and services

    def _set_parameters_callback(self, changes: list[Parameter[Any]]) -> SetParametersResult:
        try:
            wanted = changed(self.parameters, changes)
            check_change(self.parameters, wanted, configured=self._configured is not None)
        except ParameterError as error:
            return SetParametersResult(successful=False, reason=str(error))
        self.parameters = wanted
        self._apply_parameters()
        return SetParametersResult(successful=True)

    def _apply_parameters(self) -> None:
        chosen = self.parameters
        if self._configured is not None:
            segmenter = self._configured.segmenter
            live = {name: getattr(chosen, name) for name, rule in rules_of(ModelOptions).items() if rule.live}
            segmenter.options = dataclasses.replace(segmenter.options, **live)
            self._configured.stream.max_gap = chosen.max_gap
        if self._active is not None:
            self._statistics.count_dropped(Drop.OVERTAKEN, self._active.mailbox.resize(chosen.capacity))

    def _reset_callback(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        if self._active is None or self._configured is None:
            response.success, response.message = False, "the node is not active, so there is no stream to reset"
            return response
        self._active.worker.reset_stream()
        epoch = self._configured.stream.epoch + 1
        response.success, response.message = True, f"epoch {epoch} begins with the next image"
        return response

    def _enable_callback(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        self._enabled = request.data
        self._statistics.restart_silence()
        response.success, response.message = True, "images are processed" if request.data else "images are skipped"
        return response

    # Diagnostics

    def _diagnostics_callback(self) -> None:
        self._warn_of_silence()
        self._reporter.observe(self._statistics)
        if self._diagnostics.get_subscription_count():
            message = DiagnosticArray(status=[self._reporter.report(self._statistics, self._activity())])
            message.header.stamp = self.get_clock().now().to_msg()
            self._diagnostics.publish(message)

    def _activity(self) -> Activity:
        topic = topic_of(self, self.parameters)
        publishers = self.count_publishers(topic)
        if self._configured is None:
            return Activity("unconfigured", topic, publishers, self._enabled)
        segmenter = self._configured.segmenter
        return Activity(
            "inactive" if self._active is None else "active",
            topic,
            publishers,
            self._enabled,
            segmenter.name,
            segmenter.task,
            segmenter.device,
            segmenter.score_threshold,
            self._configured.stream.epoch,
        )

    def _warn_of_silence(self) -> None:
        if self._active is None or not self._enabled or self._statistics.silence < SILENCE:
            self._silence_told = False
        elif not self._silence_told:
            self._silence_told = True
            listener = self._active.input
            self._log.warning("silence", f"no image on {listener.topic} for {SILENCE:.0f} s: {listener.why_silent()}")


class Spinner(threading.Thread):
    """Runs the node's callbacks, so that the main thread is free to react to a signal at any moment.

    `ended` is set at the end; `failed` is True then if nobody had asked for it.
    """

    def __init__(self, node: SegmentNode, ended: threading.Event) -> None:
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
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
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


def _load(chosen: Parameters) -> Segmenter:
    # Here and not at the top: it brings torch, which takes seconds to load, and by now signals are heeded.
    from eomt_ros.engine import Segmenter

    segmenter = Segmenter.load(chosen)
    segmenter.warm_up(*WARM_UP_SIZE)
    return segmenter


def _explanation(error: Exception) -> str:
    """The message of an error that is meant for users, the traceback of any other."""
    if isinstance(error, ModuleNotFoundError):
        return f"{error}; install it for {sys.executable}"
    return str(error) if isinstance(error, (UserError, ValueError)) else traceback.format_exc()


if __name__ == "__main__":
    main()

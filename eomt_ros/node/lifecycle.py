"""The lifecycle node `segment`: its transitions, parameters, services and diagnostics."""

from __future__ import annotations

import dataclasses
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rcl_interfaces.msg import SetParametersResult
from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNode, TransitionCallbackReturn
from rclpy.qos import QoSProfile
from std_srvs.srv import SetBool, Trigger

from eomt_ros.errors import UserError
from eomt_ros.model_options import ModelOptions, rules_of
from eomt_ros.node.diagnostics import SILENCE, Activity, Reporter, engine_status, memory
from eomt_ros.node.inputs import Arrival, topic_of
from eomt_ros.node.log import SparingLog
from eomt_ros.node.mailbox import Mailbox
from eomt_ros.node.parameters import ALONE, ENGINE, ParameterError, Parameters, changed, check_change, declare
from eomt_ros.node.presence import Presence
from eomt_ros.node.qos import QosOverrides
from eomt_ros.node.statistics import BatchStatistics, Drop, Statistics

if TYPE_CHECKING:
    from rclpy.lifecycle.node import LifecycleState
    from rclpy.parameter import Parameter
    from rclpy.service import Service

    from eomt_ros.engine import Segmenter, SharedIds
    from eomt_ros.node.camera import Camera
    from eomt_ros.node.depth import DepthInput
    from eomt_ros.node.inputs import Input
    from eomt_ros.node.space_worker import SpaceWorker
    from eomt_ros.node.worker import Worker

EXIT_TIMEOUT = 2.0  # s that a thread gets to come out of ROS when the process is to end


@dataclass(frozen=True)
class Configured:
    """The model, and the cameras that share it: from configure to cleanup."""

    segmenter: Segmenter
    cameras: Sequence[Camera]
    services: Sequence[Service[Any, Any]]
    """Those of single cameras."""
    statistics: BatchStatistics
    shared_ids: SharedIds | None
    """None where each camera has its own."""


@dataclass(frozen=True)
class Active:
    """The way of the images from the subscriptions to the worker: from activate to deactivate."""

    mailbox: Mailbox[Camera, Arrival]
    worker: Worker
    space: SpaceWorker | None
    """None without depth."""


class SegmentNode(LifecycleNode):
    """Segments the images of one camera or several.

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
        self._reporters: dict[str, Reporter] = {}
        """By name of the camera, since the node was configured."""
        self.add_on_set_parameters_callback(self._set_parameters_callback)
        self.create_service(Trigger, "~/reset", self._reset_callback)
        self.create_service(SetBool, "~/enable", self._enable_callback)
        self._log = SparingLog(self.get_logger())
        self._silent: set[str] = set()
        """The silences that have been told."""
        qos = self._overrides.of_publisher("/diagnostics", QoSProfile(depth=10))
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", qos)
        # Not the node's clock: with use_sim_time that one stands still until somebody publishes /clock.
        self.create_timer(1.0, self._diagnostics_callback, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def autostart(self) -> bool:
        """Configure and activate, and say whether that worked; the reason is in the log if it did not."""
        succeeded = TransitionCallbackReturn.SUCCESS
        return self.trigger_configure() == succeeded and self.trigger_activate() == succeeded

    def destroy_node(self) -> None:
        """Withdraw what others see of it, without waiting for a frame in work or a model that loads."""
        if self._active is not None:
            self._active.worker.abandon(EXIT_TIMEOUT)
            if self._active.space is not None:
                self._active.space.abandon(EXIT_TIMEOUT)
        super().destroy_node()

    def leave(self) -> None:
        """Leave the network and what is shared with it, once the node is destroyed."""
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
        if chosen.depth != "none":
            # Here and not at the top: without depth, nothing of it is loaded.
            from eomt_ros.node.motion import check_motion

            check_motion(chosen)
        self.get_logger().info(f"loading the model {chosen.model}")
        with self.presence.away():
            segmenter = _load(chosen)
            from eomt_ros.engine import SharedIds
            from eomt_ros.node.camera import Camera
        shared_ids = SharedIds() if chosen.shared_ids else None
        with ExitStack() as undo:
            undo.callback(segmenter.close)
            cameras = []
            for name in chosen.cameras:
                camera = Camera(self, name, segmenter, lambda: self.parameters, self._overrides, shared_ids)
                cameras.append(camera)
                undo.callback(camera.destroy)
                camera.enabled = self._enabled
            undo.pop_all()
        services = [
            self.create_service(Trigger, f"~/{camera.name}/reset", partial(self._reset_callback, camera=camera))
            for camera in cameras
            if camera.name
        ]
        self._configured = Configured(segmenter, cameras, services, BatchStatistics(), shared_ids)
        self._apply_parameters()
        classes = len(segmenter.labels.class_names)
        named = f", cameras {', '.join(chosen.cameras)}" if any(chosen.cameras) else ""
        runs = f"size {segmenter.size}, {segmenter.device}, {segmenter.backend}, {segmenter.precision}"
        self.get_logger().info(f"configured: {segmenter.name}, {segmenter.task}, {classes} classes, {runs}{named}")

    def _activate(self) -> None:
        from eomt_ros.node.worker import Worker

        configured = self._configured
        assert configured is not None  # or the state machine would not have let us come here
        mailbox: Mailbox[Camera, Arrival] = Mailbox(configured.cameras, self.parameters.capacity)
        worker = Worker(
            configured.segmenter, mailbox, configured.statistics, lambda: self.parameters, configured.shared_ids
        )
        topics = []
        with ExitStack() as undo:
            space = self._open_space(configured.cameras, undo)
            for camera in configured.cameras:
                undo.callback(camera.close)
                topics.append(camera.open(mailbox, space).topic)
            undo.pop_all()
        self._overrides.warn_of_unused()
        self._active = Active(mailbox, worker, space)
        worker.start()
        if space is not None:
            space.start()
        self.get_logger().info(f"active: waiting for images on {', '.join(topics)}")

    def _open_space(self, cameras: Sequence[Camera], undo: ExitStack) -> SpaceWorker | None:
        with_depth = [camera.space for camera in cameras if camera.space is not None]
        if not with_depth:
            return None
        from eomt_ros.node.motion import open_motion
        from eomt_ros.node.space_worker import SpaceWorker

        worker = SpaceWorker(with_depth, lambda: self.parameters)
        log = SparingLog(self.get_logger())
        worker.motion = open_motion(
            self, self.parameters, self._overrides, wake=worker.wake, tell=partial(log.warning, "motion")
        )
        if worker.motion is not None:
            undo.callback(worker.motion.destroy)
        return worker

    def _deactivate(self) -> None:
        if self._active is None or self._configured is None:
            return
        for camera in self._configured.cameras:
            camera.close()
        space = self._active.space
        with self.presence.away():
            self._active.worker.stop()
            if space is not None:
                space.stop()
        if space is not None and space.motion is not None:
            space.motion.destroy()
        self._active = None
        # What comes after the pause is another scene, and its ids must not be taken for those of this one.
        if self._configured.shared_ids is not None:
            self._configured.shared_ids.restart()
        for camera in self._configured.cameras:
            camera.stream.reset()

    def _clean_up(self) -> None:
        if self._configured is None:
            return
        for service in self._configured.services:
            self.destroy_service(service)
        for camera in self._configured.cameras:
            camera.destroy()
        self._reporters = {}
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
            for camera in self._configured.cameras:
                camera.stream.max_gap = chosen.max_gap
        if self._active is not None:
            for camera, pushed_out in self._active.mailbox.resize(chosen.capacity).items():
                camera.statistics.count_dropped(Drop.OVERTAKEN, pushed_out)
            if self._active.space is not None:
                self._active.space.apply_parameters()

    def _reset_callback(
        self, request: Trigger.Request, response: Trigger.Response, camera: Camera | None = None
    ) -> Trigger.Response:
        if self._active is None or self._configured is None:
            response.success, response.message = False, "the node is not active, so there is no stream to reset"
            return response
        cameras, shared_ids = self._configured.cameras if camera is None else [camera], self._configured.shared_ids
        if shared_ids is None:
            epochs = [f"{each.stream.epoch + 1}{each.name and f' of {each.name}'}" for each in cameras]
            told = f"epoch {', '.join(epochs)} begins with the next image"
        elif camera is None:
            self._active.worker.begin_epoch()
            told = f"epoch {shared_ids.epoch + 1} begins with the next image"
        else:
            told = (
                f"{camera.name} forgets its objects with the next image; epoch {shared_ids.epoch} goes on with new ids"
            )
        for each in cameras:
            each.reset()
        response.success, response.message = True, told
        return response

    def _enable_callback(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        self._enabled = request.data
        for camera in self._configured.cameras if self._configured is not None else ():
            camera.enabled = request.data
            camera.statistics.restart_silence()
        response.success, response.message = True, "images are processed" if request.data else "images are skipped"
        return response

    # Diagnostics

    def _diagnostics_callback(self) -> None:
        cameras = self._by_name()
        for name, camera in cameras.items():
            reporter = self._reporters.setdefault(name, Reporter(self._status_name(name or ALONE)))
            reporter.observe(Statistics() if camera is None else camera.statistics)
            if camera is not None:
                self._warn_of_silence(camera)
        if self._diagnostics.get_subscription_count():
            message = DiagnosticArray(status=self._statuses(cameras))
            message.header.stamp = self.get_clock().now().to_msg()
            self._diagnostics.publish(message)

    def _by_name(self) -> dict[str, Camera | None]:
        """The cameras; None for each while the node is not configured."""
        if self._configured is None:
            return dict.fromkeys(self.parameters.cameras)
        return {camera.name: camera for camera in self._configured.cameras}

    def _status_name(self, part: str) -> str:
        return f"{self.get_fully_qualified_name().lstrip('/')}: {part}"

    def _statuses(self, cameras: dict[str, Camera | None]) -> list[DiagnosticStatus]:
        statuses = []
        for name, camera in cameras.items():
            statistics = Statistics() if camera is None else camera.statistics
            activity = self._activity(name, camera)
            shared = {} if name else memory(activity.device)
            statuses.append(self._reporters[name].report(statistics, activity, shared))
        if self._configured is not None and any(cameras):
            segmenter, batches = self._configured.segmenter, self._configured.statistics
            statuses.append(engine_status(self._status_name(ENGINE), batches, segmenter.device))
        return statuses

    def _activity(self, name: str, camera: Camera | None) -> Activity:
        topic = topic_of(self, name, self.parameters)
        publishers = self.count_publishers(topic)
        if camera is None or self._configured is None:
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
            segmenter.backend,
            segmenter.precision,
            segmenter.score_threshold,
            camera.stream.epoch,
            "" if camera.space is None or camera.space.depth is None else camera.space.depth.topic,
        )

    def _warn_of_silence(self, camera: Camera) -> None:
        if camera.input is None:
            return
        listens, space = camera.enabled, camera.space
        self._tell_silence("image", camera, camera.input, camera.statistics.silence if listens else 0.0)
        if space is not None and space.depth is not None:
            silence = space.depth.silence if listens and space.outputs.wanted() else 0.0
            self._tell_silence("depth", camera, space.depth, silence)

    def _tell_silence(self, what: str, camera: Camera, source: Input | DepthInput, silence: float) -> None:
        kind = f"no {what} {camera.name}"
        if silence < SILENCE:
            self._silent.discard(kind)
        elif kind not in self._silent:
            self._silent.add(kind)
            self._log.warning(kind, f"no {what} on {source.topic} for {SILENCE:.0f} s: {source.why_silent()}")


def _load(chosen: Parameters) -> Segmenter:
    # Here and not at the top: it brings torch, which takes seconds to load, and by now signals are heeded.
    from eomt_ros.engine import Segmenter
    from eomt_ros.engine.deadline import Tick, load_within
    from eomt_ros.engine.loading import USUAL_IMAGE

    image = USUAL_IMAGE
    if chosen.max_latency:
        width, height = chosen.max_latency_image
        image = height, width
        tick = Tick(image, len(chosen.cameras), chosen.publish_masks)
        segmenter = load_within(chosen, chosen.max_latency, tick)
    else:
        segmenter = Segmenter.load(chosen)
    segmenter.warm_up(*image, images=len(chosen.cameras))
    return segmenter


def _explanation(error: Exception) -> str:
    """The message of an error that is meant for users, the traceback of any other."""
    if isinstance(error, ModuleNotFoundError):
        return f"{error}; install it for {sys.executable}"
    return str(error) if isinstance(error, (UserError, ValueError)) else traceback.format_exc()

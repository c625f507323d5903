"""What comes out of the node for what goes in."""

from __future__ import annotations

import re
from importlib.util import find_spec

import cv2
import numpy as np
import pytest
from sensor_msgs.msg import Image

from eomt_ros import overlay
from eomt_ros.engine import FrameResult, Segmenter
from test.node.robot import HEIGHT, WIDTH, Station, picture, pixels_of, stamped


def test_every_output_carries_the_header_and_the_size_of_the_input(station: Station) -> None:
    message = stamped(picture(1), station.robot.next_stamp(), frame_id="front_camera_optical_frame")
    station.camera.publish(message)
    images = (station.semantic, station.panoptic, station.confidence, station.semantic_color, station.overlay)
    for inbox in (*images, station.instances):
        output = inbox.wait_for_stamp(message)
        assert output.header == message.header
        assert (output.height, output.width) == (HEIGHT, WIDTH)


def test_outputs_are_what_the_engine_finds(station: Station, segmenter: Segmenter) -> None:
    station.robot.reset()
    stream = segmenter.open_stream()
    for seed in range(3):
        message = station.send(picture(seed))
        stamp = message.header.stamp.sec + message.header.stamp.nanosec * 1e-9
        result = segmenter.segment(picture(seed), stream, stamp=stamp)
        np.testing.assert_array_equal(pixels_of(station.semantic.wait_for_stamp(message)), result.semantic)
        np.testing.assert_array_equal(pixels_of(station.panoptic.wait_for_stamp(message)), result.panoptic)
        np.testing.assert_array_equal(pixels_of(station.confidence.wait_for_stamp(message)), result.confidence)
        picture_with_segments = overlay.draw(picture(seed), result, segmenter.labels, alpha=0.5)
        np.testing.assert_array_equal(pixels_of(station.overlay.wait_for_stamp(message)), picture_with_segments)
        colors = np.array([*segmenter.labels.colors, (0, 0, 0)])[np.minimum(result.semantic, 5)]
        np.testing.assert_array_equal(pixels_of(station.semantic_color.wait_for_stamp(message)), colors)
        instances = station.instances.wait_for_stamp(message)
        assert (instances.task, instances.model) == ("panoptic", segmenter.name)
        _assert_same_segments(instances.instances, result)


def test_overlay_comes_as_a_jpeg_too(station: Station) -> None:
    message = station.send(picture(1))
    shown = station.overlay_jpeg.wait_for_stamp(message)
    assert shown.header == message.header
    assert shown.format == "rgb8; jpeg compressed bgr8"
    assert bytes(shown.data[:3]) == b"\xff\xd8\xff"
    decoded = cv2.imdecode(np.frombuffer(shown.data, np.uint8), cv2.IMREAD_COLOR)[..., ::-1].astype(int)
    raw = pixels_of(station.overlay.wait_for_stamp(message))
    assert np.abs(decoded - raw).mean() < 12


def test_sequence_counts_the_results(station: Station) -> None:
    first = station.segment(picture(1)).sequence
    assert [station.segment(picture(seed)).sequence for seed in range(3)] == [first + 1, first + 2, first + 3]


def test_masks_are_published_when_asked_for_and_cover_the_panoptic_segment(station: Station) -> None:
    assert not any(len(instance.mask_rle) for instance in station.segment(picture(1)).instances)
    assert not station.robot.set(publish_masks=True)
    try:
        message = station.send(picture(1))
        instances = station.instances.wait_for_stamp(message).instances
        ids = pixels_of(station.panoptic.wait_for_stamp(message))
        assert instances
        for instance in instances:
            box = instance.box
            values = np.arange(len(instance.mask_rle)) % 2 == 1  # runs alternate, the first outside
            mask = np.repeat(values, instance.mask_rle).reshape(box.height, box.width)
            window = ids[box.y_offset : box.y_offset + box.height, box.x_offset : box.x_offset + box.width]
            np.testing.assert_array_equal(mask, window == instance.id)
    finally:
        station.robot.set(publish_masks=False)


def test_every_frame_of_a_burst_is_processed_in_order(station: Station) -> None:
    sent = [station.send(picture(seed)).header.stamp for seed in range(60)]
    station.instances.wait_for(lambda message: message.header.stamp == sent[-1], "the last of the burst")
    assert [message.header.stamp for message in station.instances.all()] == sent


def test_images_of_another_encoding_give_the_same_result(station: Station) -> None:
    station.robot.reset()
    rgb = pixels_of(station.semantic.wait_for_stamp(station.send(picture(1))))
    station.robot.reset()
    message = station.camera.publish(stamped(picture(1)[..., ::-1], station.robot.next_stamp(), "bgr8"))
    np.testing.assert_array_equal(pixels_of(station.semantic.wait_for_stamp(message)), rgb)


def test_thresholds_can_be_changed_while_images_are_processed(station: Station) -> None:
    assert station.segment(picture(1)).instances
    assert not station.robot.set(score_threshold=1.0)
    assert not station.segment(picture(1)).instances
    assert not station.robot.set(score_threshold=-1.0)
    assert station.segment(picture(1)).instances


def test_late_subscriber_gets_the_next_result(station: Station) -> None:
    station.segment(picture(1))
    late = station.robot.listen(Image, "~/semantic")
    station.robot.connect(station.camera, late)
    assert late.wait_for_stamp(station.send(picture(2)))


def test_publisher_that_dies_and_returns_is_heard_again(station: Station) -> None:
    station.segment(picture(1))
    station.camera.close()
    station.camera = station.robot.camera()
    station.robot.connect(station.camera, station.instances)
    assert station.segment(picture(2))


def test_label_info_reaches_a_late_subscriber(station: Station, segmenter: Segmenter) -> None:
    vision_msgs = pytest.importorskip("vision_msgs.msg", reason="vision_msgs is optional")
    from rclpy.qos import DurabilityPolicy, QoSProfile

    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    info = station.robot.listen(vision_msgs.LabelInfo, "~/label_info", latched).wait_for(lambda _: True, "label info")
    assert info.header.frame_id == "camera"
    names = [(entry.class_id, entry.class_name) for entry in info.class_map]
    assert names == list(enumerate(segmenter.labels.class_names))


def test_without_vision_msgs_the_log_says_why_there_is_no_label_info(station: Station) -> None:
    if find_spec("vision_msgs") is not None:
        pytest.skip("vision_msgs is installed")
    assert "vision_msgs is not installed (ros-$ROS_DISTRO-vision-msgs): no ~/label_info" in station.robot.process.output


# Streams


def test_epoch_goes_on_while_nothing_happens(station: Station) -> None:
    epochs = [station.segment(picture(seed)).epoch for seed in range(4)]
    assert len(set(epochs)) == 1


def test_time_that_jumps_back_begins_an_epoch(station: Station) -> None:
    before = station.segment(picture(1), stamp=station.robot.next_stamp(1000.0))
    printed = len(station.robot.process.output)
    after = station.segment(picture(1), stamp=5.0)
    assert after.epoch == before.epoch + 1
    assert station.segment(picture(1), stamp=5.1).epoch == after.epoch
    station.robot.process.wait_for_output(rf"stream reset, epoch {after.epoch} begins: time jumped back", after=printed)
    assert station.robot.process.output.count("time jumped back", printed) == 1


def test_gap_longer_than_max_gap_begins_an_epoch(station: Station) -> None:
    before = station.segment(picture(1))
    assert station.segment(picture(1), stamp=station.robot.next_stamp(1.9)).epoch == before.epoch
    assert station.segment(picture(1), stamp=station.robot.next_stamp(2.1)).epoch == before.epoch + 1


def test_images_that_are_skipped_for_the_rate_are_no_gap(station: Station) -> None:
    before = station.segment(picture(1))
    skipped = _count(station, "skipped")
    assert not station.robot.set(rate=0.001)
    for _ in range(32):  # of which two are taken
        station.send(picture(1))
    try:
        station.diagnostics.wait_for(lambda _, values: int(values["skipped"]) == skipped + 30, "the skipped images")
    finally:
        assert not station.robot.set(rate=0.0)
    assert station.segment(picture(1)).epoch == before.epoch


def test_max_gap_can_be_changed_live(station: Station) -> None:
    before = station.segment(picture(1))
    assert not station.robot.set(max_gap=0.0)
    assert station.segment(picture(1), stamp=station.robot.next_stamp(100.0)).epoch == before.epoch
    assert not station.robot.set(max_gap=2.0)


def test_new_image_size_begins_an_epoch(station: Station) -> None:
    before = station.segment(picture(1))
    smaller = station.segment(picture(1, 32, 40))
    assert (smaller.height, smaller.width) == (32, 40)
    assert smaller.epoch == before.epoch + 1
    assert station.segment(picture(1, 32, 40)).epoch == smaller.epoch


def test_reset_service_begins_an_epoch_with_the_next_image(station: Station) -> None:
    before = station.segment(picture(1))
    answer = station.robot.reset()
    assert answer.success
    assert answer.message == f"epoch {before.epoch + 1} begins with the next image"
    assert station.segment(picture(1)).epoch == before.epoch + 1


def test_ids_start_again_in_a_new_epoch(station: Station, segmenter: Segmenter) -> None:
    for seed in range(3):
        station.segment(picture(seed))
    station.robot.reset()
    message = station.send(picture(7))
    instances = station.instances.wait_for_stamp(message).instances
    fresh = segmenter.segment(picture(7), segmenter.open_stream())
    assert [instance.id for instance in instances] == [segment.id for segment in fresh.segments]
    assert all(instance.age == 0 for instance in instances)


def test_images_without_stamps_are_processed_in_one_epoch(station: Station) -> None:
    before = station.segment(picture(1))
    for _ in range(3):
        station.instances.clear()
        assert station.segment(picture(1), stamp=0.0).epoch == before.epoch


def test_equal_stamps_are_processed(station: Station) -> None:
    stamp = station.robot.next_stamp()
    for seed in range(3):
        station.send(picture(seed), stamp=stamp)
    last = station.send(picture(3))
    station.instances.wait_for_stamp(last)
    assert len(station.instances.all()) == 4


# What is let through


def test_disabled_node_skips_images_until_enabled(station: Station) -> None:
    dropped = station.segment(picture(1)).dropped
    assert station.robot.enable(False).success
    station.instances.clear()
    skipped = _count(station, "skipped")
    for seed in range(3):
        station.send(picture(seed))
    station.diagnostics.wait_for(lambda _, values: int(values["skipped"]) == skipped + 3, "three more skipped images")
    assert station.robot.enable(True).success
    assert station.segment(picture(4)).dropped == dropped
    assert len(station.instances.all()) == 1


def test_images_beyond_the_rate_are_skipped_and_not_dropped(station: Station) -> None:
    dropped = station.segment(picture(1)).dropped
    skipped = _count(station, "skipped")
    assert not station.robot.set(rate=0.6)
    station.instances.clear()
    for seed in range(30):
        station.send(picture(seed))
    try:
        station.diagnostics.wait_for(
            lambda _, values: int(values["skipped"]) >= skipped + 20, "at least 20 more skipped images"
        )
    finally:
        assert not station.robot.set(rate=0.0)
    assert station.segment(picture(1)).dropped == dropped


# Bad images


def test_images_that_contradict_themselves_are_dropped_and_counted_and_the_node_goes_on(station: Station) -> None:
    dropped = station.segment(picture(1)).dropped
    too_short = stamped(picture(1), station.robot.next_stamp())
    too_short.data = too_short.data[:-1]
    empty = Image(header=stamped(picture(1), station.robot.next_stamp()).header, encoding="rgb8")
    ambiguous = stamped(picture(1), station.robot.next_stamp())
    ambiguous.data.extend(bytes(HEIGHT))
    for message in (too_short, empty, ambiguous):
        station.camera.publish(message)
    assert station.segment(picture(2)).dropped == dropped + 3
    assert _count(station, "dropped: bad_image") >= 3
    station.robot.process.wait_for_output(
        rf"image dropped: {WIDTH}x{HEIGHT} rgb8 image: data holds 9215 bytes, expected 9216 "
    )


def test_unknown_encoding_is_an_error_once_that_lists_what_is_supported(station: Station) -> None:
    dropped = station.segment(picture(1)).dropped
    printed = len(station.robot.process.output)
    for _ in range(2):
        station.camera.publish(stamped(picture(1), station.robot.next_stamp(), "32FC3"))
    assert station.segment(picture(2)).dropped == dropped + 2
    output = station.robot.process.wait_for_output(r"ERROR.*32FC3.*", after=printed)
    assert "rgb8" in output
    assert "bayer_rggb8" in output
    assert station.robot.process.output.count("32FC3", printed) == 1


# Parameters


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("mask_threshold", 1.5, "mask_threshold.*(1.5|Max)"),
        ("rate", "fast", "parameter rate: got 'fast'"),
        ("policy", "newest", "parameter policy: got 'newest', expected one of"),
        ("model", "other", "parameter model: cannot become 'other' while the node is configured"),
        ("device", "cuda", "parameter device: cannot become 'cuda' while the node is configured"),
        ("autostart", False, "autostart: cannot become False, it is looked at when the node starts"),
    ],
)
def test_parameter_is_refused_with_a_reason_and_the_old_value_stays(
    station: Station, name: str, value: object, reason: str
) -> None:
    before = station.robot.get(name)
    assert re.search(reason, station.robot.set(**{name: value}))
    assert station.robot.get(name) == before
    assert station.segment(picture(1))


def test_all_parameters_are_described(station: Station) -> None:
    for descriptor in station.robot.describe("rate", "model", "policy"):
        assert descriptor.description
    assert station.robot.describe("rate")[0].floating_point_range[0].to_value == 1000.0


# Trouble with the subscription


def test_publisher_that_offers_less_than_asked_for_is_an_error_that_says_what_to_set(station: Station) -> None:
    camera = station.robot.camera(reliable=False)
    station.robot.process.wait_for_output(
        "camera/image_raw: its quality of service does not match; set the parameter reliability to 'best_effort'"
    )
    camera.close()


# Diagnostics


def test_diagnostics_tell_rates_latencies_and_the_model(station: Station) -> None:
    station.robot.set(policy="every_frame")
    for seed in range(5):
        station.segment(picture(seed))
    status, values = station.diagnostics.wait_for(
        lambda status, values: float(values["rate out (Hz)"]) > 0, "a rate above zero"
    )
    assert status.level == b"\x00", status.message
    assert values["state"] == "active"
    assert (values["task"], values["device"], values["backend"]) == ("panoptic", "cpu", "torch")
    for stage in ("waiting", "decode", "preprocess", "network", "postprocess", "identity", "publish", "total"):
        p50, p95, p99 = (float(values[f"{stage} p{percent} (ms)"]) for percent in (50, 95, 99))
        assert 0 <= p50 <= p95 <= p99
    assert float(values["network p50 (ms)"]) <= float(values["total p50 (ms)"])
    assert int(values["memory (MiB)"]) > 50


def test_diagnostics_turn_to_error_at_a_failure_and_back_when_it_is_over(station: Station) -> None:
    station.camera.publish(Image(header=stamped(picture(1), station.robot.next_stamp()).header, encoding="rgb8"))
    status, _ = station.diagnostics.wait_for(lambda status, _: status.level == b"\x02", "an error")
    assert "0x0 rgb8 image has no pixels" in status.message
    station.segment(picture(1))
    station.diagnostics.clear()
    station.diagnostics.wait_for(lambda status, _: status.level == b"\x00", "the end of the error")


def test_silence_is_a_warning_in_diagnostics_and_once_in_the_log(station: Station) -> None:
    printed = len(station.robot.process.output)
    status, _ = station.diagnostics.wait_for(lambda status, _: status.level == b"\x01", "a warning")
    assert re.match(r"no image on /.*/camera/image_raw for \d+ s", status.message)
    station.robot.process.wait_for_output("no image on .* its publishers are silent", after=printed)
    for _ in range(2):
        station.diagnostics.clear()
        station.diagnostics.wait_for(lambda status, _: status.level == b"\x01", "the warning again")
    assert station.robot.process.output.count("no image on", printed) == 1


# Late images: the last, because diagnostics warn of them for some seconds


def test_swapped_neighbours_lose_the_late_one_and_keep_the_epoch(station: Station) -> None:
    before = station.segment(picture(1))
    printed = len(station.robot.process.output)
    first, second = station.robot.next_stamp(), station.robot.next_stamp()
    late = _count(station, "dropped: late")
    station.send(picture(3), stamp=second)
    station.send(picture(2), stamp=first)
    after = station.segment(picture(4))
    assert after.epoch == before.epoch
    assert [message.header.stamp.nanosec for message in station.instances.all()[-2:]] == [
        stamped(picture(), stamp).header.stamp.nanosec for stamp in (second, second + 0.1)
    ]
    assert _count(station, "dropped: late") == late + 1
    assert "stream reset" not in station.robot.process.output[printed:]
    station.robot.process.wait_for_output(r"dropped as late: its stamp, \d+\.\d+, is 0\.100 s before", after=printed)
    station.diagnostics.clear()
    station.send(picture(3), stamp=second)
    status, _ = station.diagnostics.wait_for(lambda status, _: "older than" in status.message, "a warning")
    assert status.level == b"\x01"


def test_two_publishers_whose_clocks_differ_are_named_and_hardly_break_the_stream(station: Station) -> None:
    before = station.segment(picture(1))
    printed = len(station.robot.process.output)
    other = station.robot.camera().connect()
    for number in range(20):
        last = station.send(picture(1))
        other.publish(stamped(picture(2), 5.0 + 0.1 * number))
    station.robot.process.wait_for_output("has 2 publishers, whose stamps do not go together", after=printed)
    other.close()
    for _ in range(25):
        last = station.send(picture(1))
    assert station.instances.wait_for_stamp(last).epoch <= before.epoch + 3
    assert station.robot.process.output.count("stream reset", printed) <= 3


def _count(station: Station, key: str) -> int:
    station.diagnostics.clear()
    return int(station.diagnostics.wait_for(lambda _, values: key in values, key)[1][key])


def _assert_same_segments(instances: list[object], result: FrameResult) -> None:
    told = [
        (
            i.id,
            i.class_id,
            i.class_name,
            i.is_thing,
            i.area,
            i.age,
            (i.box.x_offset, i.box.y_offset, i.box.width, i.box.height),
        )
        for i in instances
    ]
    found = [(s.id, s.class_id, s.class_name, s.is_thing, s.area, s.age, s.box) for s in result.segments]
    assert told == found
    np.testing.assert_allclose([i.score for i in instances], [s.score for s in result.segments], rtol=1e-6)

"""Every backend beside torch in float32: over the whole demo bag, on random networks, in batches and in all tasks."""

from __future__ import annotations

import logging
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from eomt_ros.engine import BackendError, FrameResult, Segmenter, Stream
from eomt_ros.engine.backends import export, exported_backend, open_backend
from eomt_ros.engine.device import cpu_computes_in
from eomt_ros.engine.loading import USUAL_IMAGE
from eomt_ros.engine.model.checkpoint import load_checkpoint
from eomt_ros.evaluation.frame import Prediction
from eomt_ros.evaluation.metrics import Scores
from eomt_ros.evaluation.results import Figures
from eomt_ros.evaluation.sources import TruthSource, open_sequences
from eomt_ros.package_data import PACKAGE
from test.engine.checkpoints import write_checkpoint, write_eomt, write_eomt_dinov3
from test.engine.pictures import picture

# Exporting a network takes seconds.
pytestmark = pytest.mark.slow

EXPORTED = ("openvino", "onnxruntime")
BAG = PACKAGE.parent / "demo" / "bag"
TASKS = {"panoptic": 0.3, "instance": 0.2, "semantic": 0.0}
"""With score thresholds at which random networks find a good number of segments."""
HALF = ("torch", "openvino")
"""Those that compute in bfloat16 where the CPU does."""
HALF_AGREEMENT = 0.995
"""The share of pixels that must be the same in bfloat16, over the bag; in one frame a segment may just be left out."""
AGREEMENT = 0.9999
"""The share of pixels that must be the same: float32 summed in another order moves those on the very edge of a mask."""
CLOSENESS = 1e-4
"""How far logits and queries may be apart, as a share of the largest: float32 has 1e-7, and a network adds up."""

AUTO = "bfloat16" if cpu_computes_in("bfloat16") else "float32"
"""What precision "auto" is on this machine's CPU."""


def segmenter(model: Path | str, backend: str, precision: str = "float32", **settings: object) -> Segmenter:
    loaded = Segmenter.load(model, backend=backend, device="cpu", precision=precision, **settings)  # type: ignore[arg-type]
    assert (loaded.backend, loaded.device, loaded.precision) == (backend, "cpu", precision)
    return loaded


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ViT-S in small: its heads, its blocks of queries, its registers and its upscaling."""
    shape = {"hidden_size": 96, "num_attention_heads": 6, "num_hidden_layers": 5, "num_blocks": 3, "mlp_ratio": 4}
    shape |= {"image_size": 128, "num_queries": 50, "num_register_tokens": 4}
    return write_checkpoint(tmp_path_factory.mktemp("model") / "small", **shape)


def apart(one: np.ndarray, other: np.ndarray) -> float:
    """The largest difference, as a share of the largest value."""
    return float(np.abs(one - other).max() / np.abs(other).max())


def queries(stream: Stream) -> np.ndarray:
    """What the stream's next frame starts from."""
    assert stream._state.queries is not None
    return stream._state.queries.float().numpy()


def assert_same(one: FrameResult, other: FrameResult) -> None:
    """The same segments and ids, and the same pixels but for a few on edges."""
    for name in ("semantic", "panoptic"):
        assert np.mean(getattr(one, name) == getattr(other, name)) >= AGREEMENT
    assert [(segment.id, segment.class_id, segment.age) for segment in one.segments] == [
        (segment.id, segment.class_id, segment.age) for segment in other.segments
    ]
    scores = [[segment.score for segment in result.segments] for result in (one, other)]
    # A mean over a mask, and where that is small, one pixel that moves is much of it.
    assert scores[0] == pytest.approx(scores[1], abs=0.005)


# --- the demo bag


@dataclass
class Run:
    """What a backend made of the demo bag, beside torch."""

    scores: Scores
    classes: list[float] = field(default_factory=list)
    """Per frame, the share of pixels with torch's class."""
    ids: list[float] = field(default_factory=list)
    """Per frame, the share of pixels with torch's segment id."""
    queries: list[float] = field(default_factory=list)
    """Per frame, how far from torch's they are."""

    @property
    def figures(self) -> Figures:
        return self.scores.figures()


@pytest.fixture(scope="module")
def demo_bag() -> dict[str, Run]:
    """The whole demo bag, each backend with its own stream, so that what one frame changes all later ones have."""
    segmenters = {name: segmenter("demo", name) for name in ("torch", *EXPORTED)}
    if cpu_computes_in("bfloat16"):
        segmenters |= {f"{name}, bfloat16": segmenter("demo", name, "bfloat16") for name in HALF}
    labels = segmenters["torch"].labels
    streams = {name: each.open_stream() for name, each in segmenters.items()}
    runs = {name: Run(Scores(labels.class_names, labels.is_thing)) for name in segmenters}
    for run in runs.values():
        run.scores.start_sequence("demo")
    sequences = open_sequences([BAG], truth=TruthSource())
    for number, frame in enumerate(sequences[0].frames(labels.class_names)):
        results = {
            name: each.segment(frame.image, streams[name], stamp=Fraction(frame.stamp, 10**9))
            for name, each in segmenters.items()
        }
        for name, run in runs.items():
            assert frame.truth is not None
            found = Prediction(results[name].semantic, results[name].panoptic, results[name].epoch)
            run.scores.update(frame.truth, found, begin=number * 0.1, seconds=0.1)
            run.classes.append(float(np.mean(results[name].semantic == results["torch"].semantic)))
            run.ids.append(float(np.mean(results[name].panoptic == results["torch"].panoptic)))
            run.queries.append(apart(queries(streams[name]), queries(streams["torch"])))
    return runs


@pytest.mark.parametrize("backend", EXPORTED)
def test_classes_and_ids_are_torchs_over_the_whole_demo_bag(demo_bag: dict[str, Run], backend: str) -> None:
    run = demo_bag[backend]
    assert len(run.classes) == 200
    assert min(run.classes) >= AGREEMENT
    assert min(run.ids) >= AGREEMENT


@pytest.mark.parametrize("backend", EXPORTED)
def test_queries_stay_torchs_over_the_whole_demo_bag(demo_bag: dict[str, Run], backend: str) -> None:
    assert max(demo_bag[backend].queries) <= CLOSENESS


@pytest.mark.parametrize("backend", EXPORTED)
def test_the_demo_metrics_are_torchs(demo_bag: dict[str, Run], backend: str) -> None:
    expected, found = demo_bag["torch"].figures, demo_bag[backend].figures
    for name in ("miou", "vpq", "stq"):
        reference = getattr(expected, name)
        assert reference > 0.4, "a model that finds nothing agrees with everything"
        assert getattr(found, name) == pytest.approx(reference, abs=0.0005)
    assert found.id_switches == expected.id_switches


@pytest.mark.parametrize("backend", HALF)
def test_bfloat16_agrees_with_float32_over_the_whole_demo_bag(demo_bag: dict[str, Run], backend: str) -> None:
    run = demo_bag.get(f"{backend}, bfloat16")
    if run is None:
        pytest.skip("this CPU does not compute in bfloat16")
    assert len(run.classes) == 200
    assert np.mean(run.classes) >= HALF_AGREEMENT
    assert np.mean(run.ids) >= HALF_AGREEMENT
    for name in ("miou", "vpq", "stq"):
        assert getattr(run.figures, name) == pytest.approx(getattr(demo_bag["torch"].figures, name), abs=0.005)


# --- random networks


@pytest.mark.parametrize("backend", EXPORTED)
def test_a_step_equals_torchs_from_frame_to_frame(model: Path, backend: str) -> None:
    both = [segmenter(model, name, score_threshold=0.3) for name in (backend, "torch")]
    streams = [each.open_stream() for each in both]
    for seed in range(6):
        one, other = (
            each.segment(picture(90, 120, seed), stream, with_logits=True)
            for each, stream in zip(both, streams, strict=True)
        )
        assert one.logits is not None
        assert other.logits is not None
        assert apart(one.logits.masks, other.logits.masks) <= CLOSENESS
        assert apart(one.logits.classes, other.logits.classes) <= CLOSENESS
        assert apart(queries(streams[0]), queries(streams[1])) <= CLOSENESS


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("backend", EXPORTED)
def test_every_task_finds_what_it_finds_with_torch(model: Path, backend: str, task: str) -> None:
    settings = {"task": task, "score_threshold": TASKS[task], "overlap_threshold": 0.3}
    both = [segmenter(model, name, **settings) for name in (backend, "torch")]
    streams = [each.open_stream() for each in both]
    found = 0
    for seed in range(3):
        one, other = (each.segment(picture(90, 120, seed), stream) for each, stream in zip(both, streams, strict=True))
        assert_same(one, other)
        found += len(one.segments)
    assert found >= 3


@pytest.mark.parametrize("backend", EXPORTED)
def test_streams_of_a_batch_are_as_each_alone(model: Path, backend: str) -> None:
    loaded = segmenter(model, backend, score_threshold=0.3)
    alone, together = ([loaded.open_stream() for _ in range(3)] for _ in range(2))
    for chosen in ([0, 1, 2], [2], [1, 0], [0, 1, 2]):
        images = [picture(60 + camera, 80, 10 * camera + len(chosen)) for camera in chosen]
        batch: Sequence[FrameResult] = loaded.segment_batch(images, [together[camera] for camera in chosen])
        for image, camera, result in zip(images, chosen, batch, strict=True):
            expected = loaded.segment(image, alone[camera])
            assert result.segments == expected.segments
            assert np.array_equal(result.panoptic, expected.panoptic)
            assert np.array_equal(queries(together[camera]), queries(alone[camera]))


@pytest.mark.parametrize("backend", EXPORTED)
def test_a_result_stays_as_it_is_while_later_frames_run(model: Path, backend: str) -> None:
    loaded = segmenter(model, backend)
    stream = loaded.open_stream()
    logits = loaded.segment(picture(90, 120, 1), stream, with_logits=True).logits
    assert logits is not None
    kept = logits.masks.copy(), queries(stream).copy()
    loaded.segment(picture(90, 120, 2), loaded.open_stream())
    assert np.array_equal(logits.masks, kept[0])
    assert np.array_equal(queries(stream), kept[1])


@pytest.mark.parametrize("backend", EXPORTED)
def test_reset_begins_anew(model: Path, backend: str) -> None:
    loaded = segmenter(model, backend)
    stream = loaded.open_stream()
    first = loaded.segment(picture(90, 120, 1), stream, with_logits=True).logits
    second = loaded.segment(picture(90, 120, 1), stream, with_logits=True).logits
    stream.reset()
    again = loaded.segment(picture(90, 120, 1), stream, with_logits=True).logits
    assert first is not None
    assert second is not None
    assert again is not None
    assert np.array_equal(first.masks, again.masks)
    assert apart(second.masks, first.masks) > 0.01


# --- images of other sizes


FITS = {"keep_aspect": {"fit": "keep_aspect"}, "size": {"size": 96}}
SHAPES = [(90, 160), (160, 90), (100, 100), (90, 160)]


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("backend", EXPORTED)
def test_images_of_any_shape_are_as_with_torch(model: Path, backend: str, fit: str) -> None:
    both = [segmenter(model, name, score_threshold=0.3, **FITS[fit]) for name in (backend, "torch")]
    for seed, shape in enumerate(SHAPES):
        streams = [each.open_stream() for each in both]
        for image in (picture(*shape, seed), picture(*shape, seed + 10)):
            one, other = (
                each.segment(image, stream, with_logits=True) for each, stream in zip(both, streams, strict=True)
            )
            assert one.logits is not None
            assert other.logits is not None
            assert one.logits.masks.shape == other.logits.masks.shape
            assert apart(one.logits.masks, other.logits.masks) <= CLOSENESS
            assert apart(one.logits.classes, other.logits.classes) <= CLOSENESS
            assert apart(queries(streams[0]), queries(streams[1])) <= CLOSENESS


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("backend", EXPORTED)
def test_a_start_makes_the_export_ready_once(
    model: Path, backend: str, fit: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        segmenter(model, backend, **FITS[fit]).warm_up(*USUAL_IMAGE)
        assert "made ready" not in caplog.text, "when it was loaded, and not again"
        segmenter(model, backend, **FITS["keep_aspect"]).warm_up(100, 100)
    assert "made ready" in caplog.text


@pytest.mark.parametrize("write", [write_eomt, write_eomt_dinov3])
@pytest.mark.parametrize("backend", EXPORTED)
def test_other_families_run_at_other_sizes_too(tmp_path: Path, backend: str, write: Callable[..., Path]) -> None:
    folder = write(tmp_path / "model", seed=3, attn_mask_probs=1.0)
    image = picture(90, 160, 0)
    masks = []
    for name in (backend, "torch"):
        loaded = segmenter(folder, name, size=96)
        logits = loaded.segment(image, loaded.open_stream(), with_logits=True).logits
        assert logits is not None
        masks.append(logits.masks)
    assert apart(*masks) <= CLOSENESS


@pytest.mark.parametrize("backend", EXPORTED)
def test_sizes_beyond_those_that_are_kept_are_made_ready_again(
    model: Path, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exported_backend, "MOST_SIZES", 2)
    loaded = segmenter(model, backend, fit="keep_aspect")
    found: list[list[np.ndarray]] = []
    for _ in range(2):
        logits = [
            loaded.segment(picture(*shape, 0), loaded.open_stream(), with_logits=True).logits for shape in SHAPES[:3]
        ]
        found.append([each.masks for each in logits if each is not None])
    assert len(found[0]) == 3
    assert all(np.array_equal(*pair) for pair in zip(*found, strict=True))


@pytest.mark.parametrize("backend", EXPORTED)
def test_an_image_of_another_size_is_refused_where_the_models_files_have_changed(
    model: Path, tmp_path: Path, backend: str
) -> None:
    folder = Path(shutil.copytree(model, tmp_path / "model"))
    loaded = segmenter(folder, backend, fit="keep_aspect")
    stream = loaded.open_stream()
    loaded.segment(picture(90, 160, 0), stream)
    weights = load_file(folder / "model.safetensors")
    save_file({**weights, "query.weight": weights["query.weight"] + 1}, folder / "model.safetensors")
    with pytest.raises(BackendError, match=r"files are no longer those that it was loaded from.*: load it anew"):
        loaded.segment(picture(160, 90, 0), loaded.open_stream())
    loaded.segment(picture(90, 160, 0), stream)


@pytest.mark.parametrize("backend", EXPORTED)
def test_no_second_copy_of_the_weights_is_kept(model: Path, backend: str) -> None:
    checkpoint = load_checkpoint(model)
    open_backend(checkpoint, backend, "cpu", "float32", (64, 64))
    assert all(weight.is_meta for weight in checkpoint.network.parameters())


def test_weights_beyond_what_an_onnx_file_holds_lie_beside_it(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "LARGEST_JOINED", 0)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for backend in EXPORTED:
        both = [segmenter(model, name, score_threshold=0.3) for name in (backend, "torch")]
        assert_same(*(each.segment(picture(90, 120, 0), each.open_stream()) for each in both))
    assert list(tmp_path.rglob(export.DATA))


# --- the choice


@pytest.fixture
def auto_is_openvino(model: Path) -> None:
    """The model has its export, and all is as it should be."""
    Segmenter.load(model, device="cpu", backend="openvino")
    loaded = Segmenter.load(model, device="cpu")
    assert (loaded.backend, loaded.device, loaded.precision) == ("openvino", "cpu", AUTO)


def test_auto_is_openvino_where_the_model_is_exported_and_exports_nothing_itself(
    model: Path, auto_is_openvino: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    loaded = Segmenter.load(model, device="cpu")
    assert (loaded.backend, loaded.device, loaded.precision) == ("torch", "cpu", AUTO)
    assert list(tmp_path.iterdir()) == []


def test_auto_is_the_reference_itself_where_float32_is_asked_for(model: Path, auto_is_openvino: None) -> None:
    assert Segmenter.load(model, device="cpu", precision="float32").backend == "torch"


def test_auto_without_openvino_is_torch(model: Path, auto_is_openvino: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    loaded = Segmenter.load(model, device="cpu")
    assert (loaded.backend, loaded.precision) == ("torch", AUTO)


@pytest.mark.parametrize("backend", EXPORTED)
def test_a_backend_that_is_not_installed_says_what_to_install(
    model: Path, monkeypatch: pytest.MonkeyPatch, backend: str
) -> None:
    monkeypatch.setitem(sys.modules, backend, None)
    with pytest.raises(BackendError, match=rf"cannot be loaded \(ModuleNotFound.*pip install .*{backend}.* numpy=="):
        Segmenter.load(model, device="cpu", backend=backend)


def test_auto_goes_on_with_torch_where_openvino_does_not_load_and_says_why(
    model: Path,
    auto_is_openvino: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    (tmp_path / "openvino.py").write_text("raise ImportError('libtbb.so.12: cannot open shared object file')")
    monkeypatch.syspath_prepend(tmp_path)
    for name in [name for name in sys.modules if name.partition(".")[0] == "openvino"]:
        monkeypatch.delitem(sys.modules, name)
    assert Segmenter.load(model, device="cpu").backend == "torch"
    assert (
        "backend 'auto': not OpenVINO but torch, because OpenVINO cannot be loaded (ImportError: libtbb" in caplog.text
    )
    with pytest.raises(BackendError, match=r"libtbb\.so\.12.*pip install"):
        Segmenter.load(model, device="cpu", backend="openvino")


def test_onnxruntime_without_a_gpu_provider_refuses_a_gpu(model: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this ONNX Runtime has a GPU provider")
    with pytest.raises(BackendError, match=r"device is 'cuda', but this ONNX Runtime offers .*install onnxruntime-gpu"):
        Segmenter.load(model, device="cuda", backend="onnxruntime")


def test_openvino_refuses_a_gpu(model: Path) -> None:
    with pytest.raises(ValueError, match="device is 'cuda:1', but backend 'openvino' runs on the CPU"):
        Segmenter.load(model, device="cuda:1", backend="openvino")


def test_onnxruntime_refuses_a_precision_that_it_would_not_compute_in(model: Path) -> None:
    with pytest.raises(ValueError, match="precision is 'bfloat16', but on the CPU ONNX Runtime runs float32"):
        Segmenter.load(model, device="cpu", backend="onnxruntime", precision="bfloat16")


def test_openvino_refuses_a_precision_that_it_would_not_compute_in(model: Path) -> None:
    openvino = pytest.importorskip("openvino")
    if "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        pytest.skip("this CPU computes in bfloat16")
    with pytest.raises(ValueError, match=r"precision is 'bfloat16', but on this CPU OpenVINO computes in .*float32"):
        Segmenter.load(model, device="cpu", backend="openvino", precision="bfloat16")

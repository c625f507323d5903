"""`eomt-ros evaluate --export ... --metrics trackeval` as a user runs it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from eomt_ros.cli.main import main
from eomt_ros.evaluation import results
from eomt_ros.evaluation.bag import Bag
from eomt_ros.evaluation.formats.names import EXPORTED_FORMATS
from test.evaluation import bags
from test.evaluation.bags import FRAMES
from test.evaluation.sources import test_coco_panoptic, test_youtube_vis

pytestmark = pytest.mark.slow


def words(bag: Path, model: Path, out: Path, *more: str) -> list[str]:
    options = ["--out", str(out), "--model", str(model), "--device", "cpu", "--no-video", "--score-threshold", "0.2"]
    return ["evaluate", str(bag), *options, *more]


def test_it_leaves_every_format_and_trackevals_figures(
    bag: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    exports = [word for name in EXPORTED_FORMATS for word in ("--export", name)]
    assert main(words(bag, model, out, "--save-bag", "--metrics", "trackeval", *exports)) == 0
    found = results.read_results(out)
    assert found.files["exports"] == "exports"
    assert {path.name for path in (out / "exports").iterdir()} == set(EXPORTED_FORMATS)
    assert found.problems == ()
    assert found.other_metrics.keys() >= {"HOTA", "IDF1"}
    assert "HOTA (TrackEval)" in capsys.readouterr().out
    panoptic = json.loads((out / "exports/coco-panoptic/panoptic.json").read_text())
    assert len(panoptic["annotations"]) == FRAMES
    # The same pixels as in the bag of predictions.
    with Bag(out / "bag") as saved:
        for number, message in enumerate(bags.labels(saved, "/segment/semantic")):
            rgb = np.array(Image.open(out / f"exports/vipseg/pan_pred/bag/{number:06}.png"), int)
            ids = rgb[..., 0] + 256 * rgb[..., 1] + 65536 * rgb[..., 2]
            entry = json.loads((out / "exports/vipseg/pred.json").read_text())["annotations"][0]["annotations"][number]
            classes = np.full(ids.shape, 255)
            for segment in entry["segments_info"]:
                classes[ids == segment["id"]] = segment["category_id"] - 1
            np.testing.assert_array_equal(classes, message.content)


@pytest.mark.parametrize(
    ("module", "option", "said"),
    [
        ("trackeval.metrics", ["--metrics", "trackeval"], "-m pip install --no-deps trackeval"),
        ("pycocotools", ["--export", "kitti-mots"], "pycocotools is missing: "),
    ],
)
def test_a_package_that_is_missing_is_told_before_anything_runs(
    bag: Path,
    tmp_path: Path,
    module: str,
    option: list[str],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    assert main(words(bag, tmp_path / "no model", tmp_path / "out", *option)) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line
    assert not (tmp_path / "out").exists()


def test_overwriting_removes_exports_and_nothing_that_somebody_put_there(
    bag: Path, model: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert main(words(bag, model, out, "--export", "vipseg")) == 0
    (out / "exports/mine").mkdir()
    assert main(words(bag, model, out, "--overwrite")) == 0
    assert [path.name for path in (out / "exports").iterdir()] == ["mine"]
    assert "exports" not in results.read_results(out).files
    assert results.read_results(out).other_metrics == {}


def test_what_cannot_be_exported_is_refused_in_one_line_and_leaves_nothing(
    bag: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main(words(bag, model, out, "--task", "semantic", "--export", "vipseg")) == 1
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("eomt-ros: ")]
    assert line == "eomt-ros: --export vipseg is of segments with ids, which the semantic task does not have"
    assert list(out.iterdir()) == []


def test_a_format_that_cannot_be_written_is_given_up_and_the_figures_stay(
    bag: Path, model: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert main(words(bag, model, out)) == 0
    (out / "exports").write_text("in the way")
    assert main(words(bag, model, out, "--overwrite", "--export", "vipseg")) == 0
    found = results.read_results(out)
    assert found.miou is not None
    assert any(problem.startswith("vipseg was given up: ") for problem in found.problems)


def test_youtube_vis_goes_in_and_its_results_come_out(model: Path, tmp_path: Path) -> None:
    data = test_youtube_vis.write(tmp_path / "ytvis", "train/instances.json", "train/JPEGImages")
    change_classes(data / "train/instances.json", {2: 5, 5: 4, 9: 3})
    out = tmp_path / "out"
    options = ["--split", "train", "--export", "youtube-vis", "--metrics", "trackeval", "--min-object-frames", "1"]
    assert main(words(data, model, out, *options)) == 0
    found = results.read_results(out)
    assert (found.frames, found.frames_scored, found.objects) == (6, 6, 2)
    assert found.settings["truth"] == [str(data / "train/instances.json")]
    assert found.other_metrics.keys() >= {"AP", "AP50", "HOTA"}
    tracks = json.loads((out / "exports/youtube-vis/results.json").read_text())
    assert tracks
    assert {track["video_id"] for track in tracks} <= {7, 8}
    assert {track["category_id"] for track in tracks} <= {1, 2, 3, 4, 5}


def test_coco_panoptic_goes_in_and_its_results_come_out(model: Path, tmp_path: Path) -> None:
    data = test_coco_panoptic.write(tmp_path / "coco")
    classes = {1: 21, 3: 22, 2: 1, 184: 2}
    change_classes(data / "annotations/panoptic_val2017.json", classes, (1, 2, 21, 22, 23))
    out = tmp_path / "out"
    assert main(words(data, model, out, "--export", "coco-panoptic")) == 0
    found = results.read_results(out)
    assert (found.frames, found.frames_scored) == (2, 2)
    assert [found.vpq_by_window[window] is None for window in ("1", "2")] == [False, True]
    panoptic = json.loads((out / "exports/coco-panoptic/panoptic.json").read_text())
    assert [each["image_id"] for each in panoptic["annotations"]] == [139, 285]


def test_a_data_set_of_other_classes_is_refused_in_one_line(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = test_youtube_vis.write(tmp_path / "ytvis", "valid.json", "valid/JPEGImages")
    assert main(words(data, model, tmp_path / "out")) == 1
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("eomt-ros: ")]
    assert "the ground truth of 0a_video has 3 classes, the model 5: take a model of the same data set" in line


def change_classes(file: Path, numbers: dict[int, int], own: tuple[int, ...] = (1, 2, 3, 4, 5)) -> None:
    """Gives a data set the classes of the model, all of them things, by those numbers."""
    content = json.loads(file.read_text())
    names = ("floor", "wall", "ball", "box", "person")
    content["categories"] = [
        {"id": number, "name": name, "isthing": 1} for number, name in zip(own, names, strict=True)
    ]
    for each in content["annotations"]:
        for entry in each.get("segments_info", [each]):
            entry["category_id"] = numbers[entry["category_id"]]
    file.write_text(json.dumps(content))

"""Loading: equal to Hugging Face's where a checkpoint is sound, and a refusal that says why where it is not."""

import json
import logging
import os
import pickle
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import VideomtForUniversalSegmentation

from eomt_ros import package_data as shipped
from eomt_ros.engine.errors import CheckpointError, LabelsError
from eomt_ros.engine.model.checkpoint import Checkpoint, load_checkpoint, load_model_labels
from eomt_ros.engine.networks import Videomt
from test.engine.checkpoints import SMALL, TABLE, random_network, write_checkpoint
from test.patience import PATIENCE

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
PREPROCESSOR = "video_preprocessor_config.json"
PLACEHOLDERS = ("LABEL_0", "LABEL_1", "LABEL_2", "LABEL_3", "LABEL_4")
"""Hugging Face's names for classes without any."""


@pytest.fixture(scope="module")
def pristine(tmp_path_factory):
    return write_checkpoint(tmp_path_factory.mktemp("pristine"))


@pytest.fixture
def folder(pristine, tmp_path):
    """A sound checkpoint for a test to spoil."""
    return Path(shutil.copytree(pristine, tmp_path / "spoilt"))


def edit_weights(folder: Path, edit) -> None:
    weights = load_file(folder / WEIGHTS)
    edit(weights)
    save_file(weights, folder / WEIGHTS)


def edit_json(path: Path, **entries) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **entries}))


def refusal(model: str | Path, **arguments) -> str:
    with pytest.raises(CheckpointError) as error:
        load_checkpoint(model, **arguments)
    return str(error.value)


def shard(folder: Path) -> list[Path]:
    """Rewrites a checkpoint as several shards with their index, with Hugging Face's own code."""
    network = VideomtForUniversalSegmentation.from_pretrained(folder)
    (folder / WEIGHTS).unlink()
    network.save_pretrained(folder, max_shard_size="60KB")
    shards = sorted(folder.glob("model-*.safetensors"))
    assert len(shards) > 2
    return shards


def assert_same_weights(loaded: Checkpoint, reference: torch.nn.Module) -> None:
    weights = loaded.network.state_dict()
    expected = {name: weight for name, weight in reference.state_dict().items() if name not in Videomt.TRAINING_ONLY}
    assert weights.keys() == expected.keys()
    for name, weight in weights.items():
        assert weight.dtype == torch.float32
        assert torch.equal(weight, expected[name].float()), name


# --- sound checkpoints


@pytest.mark.parametrize(
    "shape",
    [{}, {"use_swiglu_ffn": True}, {"num_register_tokens": 0, "num_upscale_blocks": 1, "id2label": {0: "floor"}}],
    ids=str,
)
def test_the_weights_equal_those_that_transformers_loads(tmp_path, shape):
    folder = write_checkpoint(tmp_path, **shape)
    assert_same_weights(load_checkpoint(folder), VideomtForUniversalSegmentation.from_pretrained(folder))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_of_another_precision_become_float32(folder, dtype):
    random_network().to(dtype).save_pretrained(folder)
    reference = VideomtForUniversalSegmentation.from_pretrained(folder)
    assert reference.dtype == dtype
    assert_same_weights(load_checkpoint(folder), reference)


def test_a_sharded_checkpoint_equals_the_same_in_one_file(folder):
    reference = VideomtForUniversalSegmentation.from_pretrained(folder)
    shard(folder)
    assert_same_weights(load_checkpoint(folder), reference)


def test_the_network_comes_ready_to_run_without_gradients_on_the_cpu(pristine):
    network = load_checkpoint(pristine).network
    assert not network.training
    assert not any(weight.requires_grad for weight in network.parameters())
    assert {weight.device.type for weight in [*network.parameters(), *network.buffers()]} == {"cpu"}


def test_training_only_weights_may_be_there_or_not(folder):
    assert load_file(folder / WEIGHTS).keys() >= Videomt.TRAINING_ONLY
    before = load_checkpoint(folder)
    edit_weights(folder, lambda weights: [weights.pop(name) for name in Videomt.TRAINING_ONLY])
    assert before.network.state_dict().keys() == load_checkpoint(folder).network.state_dict().keys()


def test_the_file_may_change_after_loading_without_reaching_the_network(folder):
    loaded = load_checkpoint(folder)
    before = {name: weight.clone() for name, weight in loaded.network.state_dict().items()}
    with (folder / WEIGHTS).open("r+b") as file:
        file.write(b"\xff" * (folder / WEIGHTS).stat().st_size)
    assert all(torch.equal(weight, before[name]) for name, weight in loaded.network.state_dict().items())


def test_name_size_task_and_labels_come_with_the_network(folder):
    loaded = load_checkpoint(folder)
    assert loaded.name == "spoilt"
    assert loaded.settings.image_size == 64
    assert loaded.labels.class_names == tuple(SMALL["id2label"].values())
    assert loaded.task == loaded.labels.task == "panoptic"


def test_a_snapshot_in_the_hub_clients_cache_is_named_by_its_hub_id(folder):
    snapshot = folder.parent / "models--tue-mps--videomt-dinov2-small-ytvis2019" / "snapshots" / "0123abc"
    shutil.copytree(folder, snapshot)
    assert load_checkpoint(snapshot).name == "tue-mps/videomt-dinov2-small-ytvis2019"


def test_a_relative_path_names_the_folder_it_leads_to(folder, monkeypatch):
    monkeypatch.chdir(folder)
    assert load_checkpoint(".").name == "spoilt"
    assert load_checkpoint("../spoilt").name == "spoilt"


def test_a_label_file_given_by_parameter_names_the_classes(folder, tmp_path):
    rows = "".join(f"\n  - {{name: thing {index}, thing: true}}" for index in range(5))
    table = tmp_path / "own.yaml"
    table.write_text(f"name: own\ntask: instance\nclasses:{rows}\n")
    loaded = load_checkpoint(folder, labels=table)
    assert (loaded.labels.name, loaded.task, loaded.labels.class_names[4]) == ("own", "instance", "thing 4")
    table.write_text("name: own")
    with pytest.raises(LabelsError, match=re.escape(str(table))):
        load_checkpoint(folder, labels=table)


def test_classes_without_names_get_hugging_faces_placeholders(tmp_path):
    names = {0: "LABEL_0", 1: "LABEL_1"}
    folder = write_checkpoint(tmp_path, id2label=names)
    assert "id2label" not in json.loads((folder / "config.json").read_text()), "Hugging Face leaves out its default"
    assert load_checkpoint(folder).labels.class_names == tuple(names.values())


@pytest.mark.parametrize(
    ("entries", "names"),
    [
        ({"id2label": {str(index + 1): f"n{index}" for index in range(5)}}, ["LABEL_0", "n0", "n1", "n2", "n3"]),
        ({"id2label": {str(index * 2): f"n{index}" for index in range(5)}}, ["n0", "LABEL_1", "n1", "LABEL_3", "n2"]),
        ({"id2label": {"0": "a", "1": None, "2": 7, "3": "b\nc", "4": "x" * 201}}, ["a", *PLACEHOLDERS[1:]]),
        ({"id2label": {"0": "a", "1": "b"}, "num_labels": 5}, PLACEHOLDERS),
    ],
    ids=["from one", "with gaps", "that are none", "of another length"],
)
def test_classes_that_have_no_name_get_placeholders_and_a_table_makes_them_needless(
    folder, tmp_path, entries, names, caplog
):
    edit_json(folder / "config.json", **entries)
    assert len(VideomtForUniversalSegmentation.from_pretrained(folder).config.id2label) == 5
    assert load_checkpoint(folder).labels.class_names == tuple(names)
    assert "id2label has" in caplog.text
    assert "give a table by the parameter 'labels'" in caplog.text
    caplog.clear()
    rows = "".join(f"\n  - {{name: thing {index}, thing: true}}" for index in range(5))
    (tmp_path / "own.yaml").write_text(f"name: own\ntask: instance\nclasses:{rows}\n")
    assert load_checkpoint(folder, labels=tmp_path / "own.yaml").labels.class_names[0] == "thing 0"
    assert not caplog.text


@pytest.mark.parametrize(
    "entries", [{"id2label": None}, {"id2label": {}}, {"id2label": None, "label2id": None}], ids=str
)
def test_without_names_the_number_of_classes_says_how_many_there_are(folder, entries):
    edit_json(folder / "config.json", **entries, num_labels=5)
    assert VideomtForUniversalSegmentation.from_pretrained(folder).config.num_labels == 5
    assert load_checkpoint(folder).labels.class_names == PLACEHOLDERS


@pytest.mark.parametrize("name", [PREPROCESSOR, "preprocessor_config.json"])
def test_mean_and_deviation_come_from_the_checkpoints_preprocessor(folder, name):
    (folder / PREPROCESSOR).rename(folder / name)
    edit_json(folder / name, image_mean=[0.5, 0.25, 0], image_std=[1, 0.5, 0.25])
    loaded = load_checkpoint(folder).processor
    assert (loaded.image_mean, loaded.image_std) == ((0.5, 0.25, 0.0), (1.0, 0.5, 0.25))


def test_one_mean_and_deviation_are_those_of_all_channels(folder):
    edit_json(folder / PREPROCESSOR, image_mean=0.5, image_std=[0.25])
    loaded = load_checkpoint(folder).processor
    assert (loaded.image_mean, loaded.image_std) == ((0.5,) * 3, (0.25,) * 3)


def test_the_settings_of_several_processors_go_before_those_in_files_of_their_own(folder):
    nested = {"video_processor": {"image_mean": 0.25}, "image_processor": {"image_mean": 0.75}}
    (folder / "processor_config.json").write_text(json.dumps(nested))
    assert load_checkpoint(folder).processor.image_mean == (0.25,) * 3
    (folder / "processor_config.json").write_text("{}")
    assert load_checkpoint(folder).processor.image_mean == (0.485, 0.456, 0.406)


@pytest.mark.parametrize("size", [96, [96, 96], {"height": 96, "width": 96}, {"shortest_edge": 96}], ids=str)
def test_a_size_that_the_network_does_not_take_is_told_of_and_its_own_is_used(folder, size, caplog):
    edit_json(folder / PREPROCESSOR, size=64)
    load_checkpoint(folder)
    assert "sizes" not in caplog.text
    edit_json(folder / PREPROCESSOR, size=size)
    load_checkpoint(folder)
    assert "asks for sizes of [96], but the network takes 64 only" in caplog.text


def test_without_a_preprocessor_mean_and_deviation_are_imagenets(folder):
    (folder / PREPROCESSOR).unlink()
    loaded = load_checkpoint(folder).processor
    assert (loaded.image_mean, loaded.image_std) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


# --- the demo


def test_demo_is_the_shipped_checkpoint_inside_the_package_first_and_beside_it_else(pristine, tmp_path, monkeypatch):
    package = tmp_path / "site-packages" / "eomt_ros"
    monkeypatch.setattr(shipped, "PACKAGE", package)
    said = refusal("demo")
    assert str(package / "checkpoint") in said
    assert str(tmp_path / "site-packages" / "demo" / "checkpoint") in said
    assert "install eomt_ros again" in said

    tables = Path(__file__).parents[3] / "config" / "labels"
    shutil.copytree(tables, package / "config" / "labels")
    shutil.copytree(pristine, tmp_path / "site-packages" / "demo" / "checkpoint")
    assert load_checkpoint("demo").name == "demo"
    write_checkpoint(package / "checkpoint", id2label={0: "inside", 1: "the package"})
    assert load_checkpoint("demo").labels.class_names == ("inside", "the package")


def test_a_folder_that_is_called_demo_does_not_hide_the_shipped_checkpoint(tmp_path, monkeypatch):
    monkeypatch.setattr(shipped, "PACKAGE", tmp_path / "nothing" / "here")
    monkeypatch.chdir(tmp_path)
    write_checkpoint(tmp_path / "demo")
    assert str(tmp_path / "nothing") in refusal("demo")
    monkeypatch.undo()
    assert load_checkpoint(tmp_path / "demo").name == "demo"


# --- nothing to load


def test_a_model_that_is_nowhere_is_refused_with_the_folder_that_was_looked_for(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said = refusal("./models/mine")
    assert str(tmp_path / "models" / "mine") in said
    assert "not a hub id" in said
    assert "tue-mps/videomt-dinov2-small-ytvis2019" in said


@pytest.mark.parametrize(
    "model", ["", "./mine", "../mine", "a/b/c", "/not/there", "owner/name@", "owner/../name", "name", "\0", "x" * 5000]
)
def test_what_is_neither_folder_nor_hub_id_is_refused_without_asking_the_hub(model):
    assert "not a hub id" in refusal(model)


def test_a_file_in_place_of_a_folder_is_refused(folder):
    assert "is a file; give the folder" in refusal(folder / WEIGHTS)


def test_a_folder_without_config_is_refused(tmp_path):
    assert f"{tmp_path} has no config.json" in refusal(tmp_path)


def test_a_folder_without_weights_is_refused(folder):
    (folder / WEIGHTS).unlink()
    said = refusal(folder)
    assert f"{folder} has no {WEIGHTS}" in said
    assert INDEX in said


def test_pickled_weights_are_refused_unopened_with_a_command_that_converts_them(folder):
    marker = folder / "was executed"

    class Trap:
        def __reduce__(self):
            return Path.touch, (marker,)

    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Trap()))
    (folder / WEIGHTS).unlink()
    said = refusal(folder)
    assert "only pickled weights (pytorch_model.bin)" in said
    assert "can run any code" in said
    assert not marker.exists()

    reference = random_network()
    torch.save(reference.state_dict(), folder / "pytorch_model.bin")
    command = re.search(r'python3 -c "(.*)"', said)
    assert command is not None
    exec(command[1], {})
    assert_same_weights(load_checkpoint(f"{folder}-safetensors"), reference)


# --- code from a hub


def test_code_that_comes_with_a_checkpoint_is_never_run(folder, monkeypatch, caplog):
    marker = folder / "was executed"
    (folder / "modeling_trap.py").write_text(f"open({str(marker)!r}, 'w').close()\nclass Trap: ...\n")
    edit_json(
        folder / "config.json",
        trust_remote_code=True,
        auto_map={"AutoConfig": "modeling_trap.Trap", "AutoModel": "modeling_trap.Trap"},
    )
    monkeypatch.chdir(folder)
    with caplog.at_level(logging.WARNING):
        loaded = load_checkpoint(folder)
    assert not marker.exists()
    assert "auto_map" in caplog.text
    assert_same_weights(loaded, random_network())


# --- config.json


@pytest.mark.parametrize("model_type", ["maskformer", None, ["videomt"], 3])
def test_another_architecture_is_refused_with_those_that_are_supported(folder, model_type):
    edit_json(folder / "config.json", model_type=model_type)
    assert (
        f"model_type is {model_type!r}, supported: videomt, videomt_dinov3, eomt, eomt_dinov3, mask2former"
        in refusal(folder)
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"", "is not JSON"),
        (b'{"model_type": "videomt"', "is not JSON"),
        (b"\xff\xfe\x00", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b'["videomt"]', "holds a list, expected a JSON object"),
        (b" " * (17 << 20), f"has {17 << 20} bytes, expected at most"),
    ],
    ids=["empty", "cut", "binary", "nested", "list", "huge"],
)
def test_a_config_that_is_no_json_object_is_refused(folder, text, said):
    (folder / "config.json").write_bytes(text)
    message = refusal(folder)
    assert said in message
    assert str(folder / "config.json") in message


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ({"hidden_size": "wide"}, "hidden_size is 'wide'"),
        ({"hidden_size": 33}, "hidden_size is 33"),
        ({"num_blocks": 5}, "num_blocks is 5"),
        ({"num_channels": 4}, "num_channels is 4, expected 3 (RGB"),
        ({"hidden_size": 1 << 20}, "hidden_size is 1048576, expected a whole number from 1 to 65536"),
        ({"hidden_size": 1 << 70}, "hidden_size is 1180591620717411303424, expected a whole number"),
        ({"num_hidden_layers": 10**9}, "num_hidden_layers is 1000000000, expected a whole number from 1 to 1000"),
        ({"num_queries": True}, "num_queries is True, expected a whole number"),
        ({"image_size": [64, 64]}, "image_size is [64, 64], expected a whole number"),
        ({"layer_norm_eps": None}, "layer_norm_eps is None, expected a number above 0"),
        ({"layer_norm_eps": float("nan")}, "layer_norm_eps is nan, expected a number above 0"),
        ({"hidden_act": ["gelu"]}, "hidden_act is ['gelu'], expected one of gelu"),
        ({"id2label": 5}, "id2label is 5, expected an object of names by the number of their class"),
        ({"id2label": ["floor"] * 5}, "id2label is ['floor', 'floor'"),
        ({"id2label": {"floor": 0}}, "id2label is {'floor': 0}, expected an object of names by the number"),
        ({"id2label": None, "num_labels": 10**9}, "num_labels is 1000000000, expected a whole number from 1 to 10000"),
        ({"id2label": None, "num_labels": "5"}, "num_labels is '5', expected a whole number"),
        ({"id2label": {}}, "num_labels is 0, expected a whole number"),
    ],
)
def test_a_config_no_network_can_be_built_from_is_refused(folder, entries, said):
    edit_json(folder / "config.json", **entries)
    message = refusal(folder)
    assert said in message
    assert str(folder / "config.json") in message


def test_a_file_that_cannot_be_read_is_refused(folder):
    (folder / "config.json").unlink()
    (folder / "config.json").mkdir()
    assert "cannot be read: [Errno 21] Is a directory" in refusal(folder)


def replace(file: Path, kind: str) -> None:
    """Puts something that is no file into a file's place."""
    file.unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(file)
    else:
        file.symlink_to("/dev/null")


@pytest.mark.parametrize("kind", ["pipe", "device"])
@pytest.mark.parametrize("name", ["config.json", "processor_config.json", PREPROCESSOR, WEIGHTS, INDEX])
def test_what_is_no_regular_file_is_refused_by_name_and_not_read(folder, name, kind):
    if name == INDEX:
        (folder / WEIGHTS).unlink()
    replace(folder / name, kind)
    said = refusal(folder)
    assert f"it is a {kind}, expected a regular file" in said
    assert str(folder / name) in said


def test_a_shard_that_is_no_regular_file_is_refused(folder):
    second = shard(folder)[1]
    replace(second, "device")
    assert f"it is a device, expected a regular file: '{second}'" in refusal(folder)


def test_links_as_in_the_hub_clients_cache_are_followed(folder, tmp_path):
    snapshot = tmp_path / "models--me--mine" / "snapshots" / "0123abc"
    snapshot.mkdir(parents=True)
    for number, file in enumerate(folder.iterdir()):
        blob = file.rename(tmp_path / f"blob {number}")
        (snapshot / file.name).symlink_to(blob)
    assert_same_weights(load_checkpoint(snapshot), random_network())


@pytest.mark.parametrize("depth", [900, 100_000])
def test_deep_nesting_ends_in_a_line(folder, depth):
    config = (folder / "config.json").read_text()
    for name in ("id2label", "hidden_act", "image_size"):
        deep = "[" * depth + "]" * depth
        (folder / "config.json").write_text(f'{config.rstrip()[:-1]}, "{name}": {deep}}}')
        assert len(refusal(folder)) < 1000


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ({"image_mean": [0.5, 0.5]}, "image_mean is [0.5, 0.5], expected one number or three"),
        ({"image_mean": ["a", 1, 2]}, "image_mean is ['a', 1, 2], expected one number or three"),
        ({"image_mean": [float("nan"), 1, 2]}, "image_mean is [nan, 1, 2], expected one number or three"),
        ({"image_mean": [0, 0, 10**400]}, "expected one number or three, for pixels from 0 to 1"),
        ({"image_std": [1, 1, 0]}, "image_std is (1.0, 1.0, 0.0), expected numbers above 0"),
        ({"image_std": None}, "image_std is None, expected one number or three"),
        ({"do_normalize": False}, "do_normalize is False, supported: True"),
        ({"do_rescale": False}, "do_rescale is False, supported: True"),
        ({"rescale_factor": 1 / 127.5}, "supported: 0.00392"),
        ({"rescale_factor": 10**400}, "supported: 0.00392"),
        ({"resample": 3}, "resample is 3, supported: 2"),
        ({"resample": None}, "resample is None, supported: 2"),
        ({"do_resize": False}, "do_resize is False, supported: True"),
        ({"do_resize": None}, "do_resize is None, supported: True"),
        ({"do_center_crop": True, "crop_size": 32}, "do_center_crop is True, supported: False"),
        ({"size": "64"}, "size is '64', max_size None, expected {height, width} or {shortest_edge, longest_edge}"),
        ({"size": {"height": 64}}, "size is {'height': 64}, max_size None, expected"),
        ({"size": {"height": 64, "width": 0}}, "expected {height, width}"),
        ({"size": {"height": 64, "width": 10**9}}, "expected {height, width}"),
    ],
)
def test_a_preprocessor_that_ours_does_not_equal_is_refused(folder, entries, said):
    edit_json(folder / PREPROCESSOR, **entries)
    message = refusal(folder)
    assert said in message
    assert str(folder / PREPROCESSOR) in message


# --- weights


def test_a_missing_weight_is_refused_by_name_where_transformers_would_invent_it(folder):
    edit_weights(folder, lambda weights: weights.pop("query_updater.weight"))
    assert "1 missing (query_updater.weight (32, 32))" in refusal(folder)


def test_an_unknown_weight_is_refused_by_name(folder):
    edit_weights(folder, lambda weights: weights.update(extra_head=torch.zeros(2, 3)))
    assert "1 unknown to the network (extra_head (2, 3))" in refusal(folder)


def test_a_weight_of_another_shape_is_refused_with_both_shapes(folder):
    edit_weights(folder, lambda weights: weights.update({"query.weight": torch.zeros(13, 32)}))
    assert "1 of another shape (query.weight is (13, 32), expected (12, 32))" in refusal(folder)


def test_many_faulty_weights_are_counted_and_the_first_ones_named(folder):
    def spoil(weights):
        for name in [name for name in weights if name.startswith("layers.3.")]:
            weights[name.replace("layers.3", "layers.4")] = weights.pop(name)

    edit_weights(folder, spoil)
    said = refusal(folder)
    assert "18 missing (layers.3." in said
    assert "18 unknown to the network (layers.4." in said
    assert ", ...)" in said
    assert len(said) < 1000


def test_weights_that_are_no_floating_point_numbers_are_refused(folder):
    edit_weights(folder, lambda weights: weights.update({"layernorm.bias": torch.zeros(32, dtype=torch.int8)}))
    assert "1 not floating point (layernorm.bias is I8)" in refusal(folder)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_weight_that_is_not_finite_is_refused_by_name(folder, value):
    edit_weights(folder, lambda weights: weights["mask_head.fc1.bias"][7:8].fill_(value))
    assert "NaN or infinite numbers in 1 weights (mask_head.fc1.bias)" in refusal(folder)


def test_the_config_of_a_giant_network_is_refused_before_it_costs_memory(folder):
    edit_json(folder / "config.json", hidden_size=1 << 16, num_hidden_layers=500)
    assert "of another shape" in refusal(folder)


@pytest.mark.parametrize("length", [5 << 20, (1 << 64) - 1])
def test_a_header_that_says_it_is_huge_is_not_read(folder, length):
    with (folder / WEIGHTS).open("r+b") as file:
        file.write(length.to_bytes(8, "little"))
    assert f"its header has {length} bytes, expected at most {4 << 20}" in refusal(folder)


def test_weights_for_which_the_machine_has_no_memory_are_refused_before_they_are_read(folder, monkeypatch):
    monkeypatch.setattr(os, "sysconf", {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 10}.__getitem__)
    assert "take 0.0 GB as float32, and this machine has 0.0 GB" in refusal(folder)


def test_names_of_weights_stay_in_their_line(folder):
    edit_weights(
        folder, lambda weights: weights.update({"a\nb: \x1b[31mred": torch.zeros(1), "x" * 5000: torch.zeros(1)})
    )
    said = refusal(folder)
    assert said.isprintable()
    assert len(said) < 1000


@pytest.mark.parametrize("size", [0, 5, 8, 1000, -1000, -1])
def test_a_truncated_file_is_refused_with_its_size(folder, size):
    content = (folder / WEIGHTS).read_bytes()[:size]
    (folder / WEIGHTS).write_bytes(content)
    said = refusal(folder)
    assert f"{folder / WEIGHTS} ({len(content)} bytes) is truncated or no safetensors file" in said
    assert "get it again" in said


def test_a_file_with_something_else_in_it_is_refused(folder):
    (folder / WEIGHTS).write_bytes(pickle.dumps({"query.weight": [1.0] * 100}))
    assert "is truncated or no safetensors file" in refusal(folder)


def test_a_git_lfs_pointer_is_refused_with_the_command_that_gets_the_file(folder):
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 96000000\n"
    (folder / WEIGHTS).write_text(pointer)
    assert "git lfs pull" in refusal(folder)


# --- shards


@pytest.mark.parametrize(
    "name", ["../outside.safetensors", "/outside.safetensors", "sub/model.safetensors", "..", "model-1.bin"]
)
def test_a_shard_that_leads_out_of_the_folder_or_is_pickled_is_refused(folder, name):
    shard(folder)
    index = json.loads((folder / INDEX).read_text())
    index["weight_map"]["query.weight"] = name
    (folder / INDEX).write_text(json.dumps(index))
    assert f"names the shard {name!r}, expected a .safetensors file in the same folder" in refusal(folder)


def test_a_shard_that_is_not_there_is_refused_by_name(folder):
    shards = shard(folder)
    shards[1].unlink()
    assert f"names the shard {shards[1].name!r}, which is not there" in refusal(folder)


def test_a_truncated_shard_is_refused_by_name(folder):
    shards = shard(folder)
    shards[1].write_bytes(shards[1].read_bytes()[:-1])
    assert f"{shards[1]} ({shards[1].stat().st_size} bytes) is truncated" in refusal(folder)


def test_a_weight_that_two_shards_have_is_refused_by_name(folder):
    first, second = shard(folder)[:2]
    name, weight = next(iter(load_file(first).items()))
    save_file({**load_file(second), name: weight}, second)
    assert f"another shard both have 1 weights ({name})" in refusal(folder)


@pytest.mark.parametrize("weight_map", [None, {}, ["model-1.safetensors"], {"query.weight": 1}])
def test_an_index_without_a_map_of_weights_is_refused(folder, weight_map):
    (folder / WEIGHTS).unlink()
    (folder / INDEX).write_text(json.dumps({"weight_map": weight_map}))
    assert f"{folder / INDEX}: weight_map is malformed" in refusal(folder)


@pytest.mark.slow
def test_loading_brings_in_none_of_torchs_compiler_and_no_scipy() -> None:
    """They take seconds to import, and every start of the node would wait for them."""
    program = (
        "import sys, torch; before = {'torch._dynamo', 'sympy', 'scipy'} - set(sys.modules)\n"
        "from eomt_ros.engine import Segmenter; Segmenter.load('demo', backend='torch').open_stream()\n"
        "print('loaded', sorted(before & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=PATIENCE, check=True)
    assert done.stdout.strip() == "loaded []"


def test_a_label_table_in_the_folder_is_the_checkpoints_own(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = write_checkpoint(tmp_path / "mine")
    (folder / "labels.yaml").write_text(TABLE)
    with caplog.at_level("WARNING"):
        labels = load_checkpoint(folder).labels
    assert (labels.name, labels.is_thing) == ("test world", (False, False, True, True, True))
    assert load_model_labels(folder) == labels
    assert not caplog.messages
    (tmp_path / "other.yaml").write_text(TABLE.replace("test world", "other"))
    assert load_checkpoint(folder, tmp_path / "other.yaml").labels.name == "other"


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("name: mine", "labels.yaml: the table has no classes"),
        (TABLE + "- {name: sixth, thing: true}\n", "labels.yaml has 6 classes, but mine has 5"),
        ("x" * (2 << 20), "cannot be read: it has 2097152 bytes, expected at most"),
        ("a: &a [1]\nb: *a\n", "labels.yaml is not YAML"),
    ],
)
def test_a_wrong_label_table_in_the_folder_is_refused_and_another_can_be_given(
    tmp_path: Path, table: str, said: str
) -> None:
    folder = write_checkpoint(tmp_path / "mine")
    (folder / "labels.yaml").write_text(table)
    with pytest.raises(LabelsError, match=said) as refusal:
        load_checkpoint(folder)
    assert "\n" not in str(refusal.value)
    (tmp_path / "right.yaml").write_text(TABLE)
    assert load_checkpoint(folder, tmp_path / "right.yaml").labels.name == "test world"


def test_a_label_table_that_is_a_link_out_of_the_folder_is_not_read(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "mine")
    (tmp_path / "secret.yaml").write_text(TABLE)
    (folder / "labels.yaml").symlink_to("../secret.yaml")
    with pytest.raises(LabelsError, match=r"mine/labels\.yaml is a link out of its folder"):
        load_checkpoint(folder)
    (folder / "labels.yaml").unlink()
    (folder / "labels.yaml").symlink_to("gone.yaml")
    with pytest.raises(LabelsError, match="cannot be read: No such file"):
        load_checkpoint(folder)
    (folder / "labels.yaml").unlink()
    os.mkfifo(folder / "labels.yaml")
    with pytest.raises(LabelsError, match="it is a pipe, expected a regular file"):
        load_checkpoint(folder)

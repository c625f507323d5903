"""Starts beside what they start from: Hugging Face's own backbones and networks, and the networks of the engine."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import (
    BertConfig,
    BertModel,
    Dinov2WithRegistersConfig,
    Dinov2WithRegistersForImageClassification,
    Dinov2WithRegistersModel,
    DINOv3ViTConfig,
    DINOv3ViTModel,
    PreTrainedModel,
)

from eomt_ros.engine import CheckpointError
from eomt_ros.engine.model.checkpoint import load_checkpoint
from eomt_ros.engine.networks import Dinov3Settings, Eomt, QueryVit, Videomt
from eomt_ros.engine.networks.dinov3 import dinov3_rotations
from eomt_ros.training.checkpoint import save_checkpoint
from eomt_ros.training.dataset import DatasetClass
from eomt_ros.training.settings import TrainingSettings
from eomt_ros.training.start import Start, start_network
from test.engine.checkpoints import (
    random_network,
    save,
    write_checkpoint,
    write_eomt,
    write_eomt_dinov3,
    write_mask2former,
)
from test.training.networks import answers, frames

pytestmark = pytest.mark.slow

SIDE = 64
NAMES = ("floor", "wall", "ball", "box", "person")
"""Of the classes of the checkpoints that the tests of the engine write."""
HEAD = frozenset({"class_predictor.weight", "class_predictor.bias"})
UPDATER = frozenset({"query_updater.weight", "query_updater.bias"})
QUERIES_AND_HEADS = ("query.", "class_predictor.", "mask_head.", "upscale_block.", "query_updater.")


def classes(*names: str) -> tuple[DatasetClass, ...]:
    return tuple(DatasetClass(name, True, (1, 2, 3)) for name in names)


def started(start: Path | str, names: tuple[str, ...] = NAMES, **settings: Any) -> Start:
    return start_network(str(start), TrainingSettings(**settings), classes(*names))


def refusal(start: Path | str, **settings: Any) -> str:
    with pytest.raises(CheckpointError) as error:
        started(start, **settings)
    assert "\n" not in str(error.value)
    return str(error.value)


def assert_same(one: list[tuple[Tensor, Tensor]], other: list[tuple[Tensor, Tensor]]) -> None:
    for (masks, scores), (other_masks, other_scores) in zip(one, other, strict=True):
        torch.testing.assert_close(masks, other_masks, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(scores, other_scores, atol=1e-4, rtol=1e-4)


def engines(folder: Path) -> QueryVit:
    network = load_checkpoint(folder).network
    assert isinstance(network, QueryVit)
    return network


# From networks with queries


def test_the_demos_network_with_its_own_classes_starts_as_it_is() -> None:
    labels = load_checkpoint("demo").labels
    start = started("demo", labels.class_names)
    assert start.new == frozenset()
    assert "classes kept: floor, wall, shelf, box, ball, cone, barrel, person" in start.notes
    pixels = torch.randn(2, 3, 256, 256)
    demo = load_checkpoint("demo").network
    assert isinstance(demo, QueryVit)
    assert_same(answers(start.network, pixels), answers(demo, pixels))


@pytest.mark.parametrize("write", [write_checkpoint, write_eomt, write_eomt_dinov3])
def test_a_network_can_be_trained_as_it_is_given(write: Callable[..., Path], tmp_path: Path) -> None:
    family = "videomt" if write is write_checkpoint else "eomt"
    start = started(write(tmp_path / "mine"), family=family)
    assert start.network.training
    assert all(each.requires_grad and each.dtype == torch.float32 for each in start.network.parameters())
    step = start.network(frames(2), start.network.first_queries(2))
    (step.mask_logits.mean() + step.class_logits.mean()).backward()
    before = engines(tmp_path / "mine")
    assert start.new == frozenset()
    assert_same(answers(start.network, frames(2)), answers(before, frames(2)))


def test_classes_of_equal_names_keep_what_they_are_scored_with_and_so_does_no_object(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "mine")
    start = started(folder, ("pallet", "ball", "floor", "Wall"))
    before, after = answers(engines(folder), frames(2)), answers(start.network, frames(2))
    for (masks, scores), (new_masks, new_scores) in zip(before, after, strict=True):
        torch.testing.assert_close(new_masks, masks)
        torch.testing.assert_close(new_scores[:, [1, 2, 4]], scores[:, [NAMES.index("ball"), NAMES.index("floor"), 5]])
    assert start.new == HEAD
    assert start.added == {0, 3}
    assert start.notes[1:] == [
        "classes kept: ball, floor",
        "classes new: pallet, Wall",
        "classes left out: box, person, wall",
    ]


def test_streams_come_first_from_what_carries_its_queries_and_has_all_classes(tmp_path: Path) -> None:
    videomt = write_checkpoint(tmp_path / "videomt")
    assert started(videomt).begins_with_streams
    assert not started(videomt, (*NAMES, "pallet")).begins_with_streams
    assert not started("nothing").begins_with_streams


def test_classes_are_added_to_others_and_where_all_are_new_to_none(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "mine")
    assert started(folder).added == started(folder, ("pallet", "forklift")).added == frozenset()
    assert started(folder, (*NAMES, "pallet", "forklift")).added == {len(NAMES), len(NAMES) + 1}
    assert started("nothing").added == frozenset()


def test_names_come_from_the_label_table_of_the_start(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "mine", id2label={0: "LABEL_0", 1: "LABEL_1"})
    (folder / "labels.yaml").write_text(
        "name: mine\ntask: panoptic\nclasses: [{name: pallet, thing: true}, {name: floor, thing: false}]\n"
    )
    start = started(folder, ("floor", "pallet"))
    assert start.new == frozenset()
    before = engines(folder).class_predictor.weight
    assert torch.equal(start.network.class_predictor.weight, before[[1, 0, 2]])


@pytest.mark.parametrize("write", [write_eomt, write_eomt_dinov3])
def test_a_videomt_from_an_eomt_sees_every_frame_as_that_does_until_it_is_trained(
    write: Callable[..., Path], tmp_path: Path
) -> None:
    folder = write(tmp_path / "mine")
    start = started(folder, family="videomt")
    assert isinstance(start.network, Videomt)
    assert start.new == UPDATER
    assert_same(answers(start.network, frames(3)), answers(engines(folder), frames(3)))
    step = start.network(frames(1), start.network.first_queries())
    step.next_queries.square().sum().backward()
    gradient = start.network.query_updater.weight.grad
    assert gradient is not None
    assert gradient.abs().max() > 0, "it could never learn to carry anything"


def test_an_eomt_from_a_videomt_sees_every_frame_as_a_first_one(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "mine")
    start = started(folder, family="eomt")
    assert isinstance(start.network, Eomt)
    assert start.new == frozenset()
    assert any("query updater is left out" in note for note in start.notes)
    before = engines(folder)
    each = [answers(before, frame[None])[0] for frame in frames(3)]
    assert_same(answers(start.network, frames(3)), each)


@pytest.mark.parametrize("size", [96, 48])
def test_another_size_gives_what_the_network_gives_for_images_of_that_size(size: int, tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "mine")
    start = started(folder, size=size)
    assert start.network.settings.image_size == size
    assert start.new == frozenset()
    assert f"position embeddings resampled from 4x4 to {size // 16}x{size // 16} patches" in start.notes
    pixels = torch.randn(2, 3, size, size)
    assert_same(answers(start.network, pixels), answers(engines(folder), pixels))


def test_fewer_queries_are_the_first_ones_and_more_are_drawn_like_them(tmp_path: Path) -> None:
    folder = write_eomt(tmp_path / "mine")
    before = engines(folder).query.weight
    fewer = started(folder, family="eomt", queries=5)
    assert torch.equal(fewer.network.query.weight, before[:5])
    assert fewer.new == frozenset()
    more = started(folder, family="eomt", queries=400)
    queries = more.network.query.weight.detach()
    assert more.new == {"query.weight"}
    assert torch.equal(queries[:12], before)
    torch.testing.assert_close(queries[12:].mean(0), before.mean(0), atol=0.3, rtol=0)
    torch.testing.assert_close(queries[12:].std(0), before.std(0, correction=0), atol=0.2, rtol=0)
    assert len({tuple(row) for row in queries.tolist()}) == 400, "equal queries would never part"


def test_other_joint_blocks_of_the_same_layers(tmp_path: Path) -> None:
    start = started(write_eomt(tmp_path / "mine"), family="eomt", joint_blocks=3)
    assert start.network.settings.num_blocks == 3
    assert start.new == frozenset()
    save_checkpoint(start.network, tmp_path / "out", classes(*NAMES), "panoptic")
    load_checkpoint(tmp_path / "out")


def test_an_eomt_that_keeps_its_masks_is_trained_and_saved_without(tmp_path: Path) -> None:
    start = started(write_eomt(tmp_path / "masked", attn_mask_probs=1.0), family="eomt")
    assert any("masks the attention of its queries" in note for note in start.notes)
    save_checkpoint(start.network, tmp_path / "out", classes(*NAMES), "panoptic")
    write_eomt(tmp_path / "open")
    assert_same(answers(start.network, frames(2)), answers(engines(tmp_path / "open"), frames(2)))
    assert not load_file(tmp_path / "out" / "model.safetensors")["attn_mask_probs"].any()


@pytest.mark.parametrize("family", ["videomt", "eomt"])
@pytest.mark.parametrize("write", [write_checkpoint, write_eomt, write_eomt_dinov3])
def test_what_was_started_is_saved_and_started_from_again(
    write: Callable[..., Path], family: str, tmp_path: Path
) -> None:
    names = ("pallet", *NAMES[2:])
    start = started(write(tmp_path / "mine"), names, family=family, size=80, queries=14)
    save_checkpoint(start.network, tmp_path / "out", classes(*names), "panoptic", dtype=torch.float32)
    again = started(tmp_path / "out", names, family=family)
    assert again.new == frozenset()
    pixels = torch.randn(2, 3, 80, 80)
    assert_same(answers(again.network, pixels), answers(start.network, pixels))


# From plain backbones

DINOV2: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "image_size": SIDE,
    "patch_size": 16,
    "num_register_tokens": 3,
}
DINOV3: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "num_register_tokens": 3,
}


def random_backbone(kind: type[PreTrainedModel], config: Any) -> PreTrainedModel:
    """A backbone of Hugging Face, none of whose weights is as it is made."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        backbone = kind(config).eval().requires_grad_(False)
        for parameter in backbone.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return backbone


def features(network: QueryVit, pixels: Tensor) -> Tensor:
    """The tokens of all layers and the last norm, without queries: class token, registers, patches."""
    settings = network.settings
    rotate = None
    if isinstance(settings, Dinov3Settings):
        rotate = dinov3_rotations(settings, network.grid_of(pixels), network.query.weight)
    with torch.no_grad():
        tokens = network.encode(pixels)
        for layer in network.layers[-settings.num_blocks :]:
            tokens = layer(tokens, rotate)
        return network.layernorm(tokens)


@pytest.mark.parametrize("family", ["videomt", "eomt"])
@pytest.mark.parametrize(
    "config",
    [
        Dinov2WithRegistersConfig(**DINOV2),
        Dinov2WithRegistersConfig(**DINOV2, use_swiglu_ffn=True, layer_norm_eps=1e-3),
        DINOv3ViTConfig(**DINOV3, image_size=48),
        DINOv3ViTConfig(**DINOV3, use_gated_mlp=True, hidden_act="silu", key_bias=True, rope_theta=30.0),
    ],
    ids=["dinov2", "dinov2-gated", "dinov3", "dinov3-gated"],
)
@pytest.mark.parametrize("size", [64, 96])
def test_a_backbones_features_are_hugging_faces(config: Any, family: str, size: int, tmp_path: Path) -> None:
    dinov3 = isinstance(config, DINOv3ViTConfig)
    backbone = random_backbone(DINOv3ViTModel if dinov3 else Dinov2WithRegistersModel, config)
    backbone.save_pretrained(tmp_path / "backbone")
    start = started(tmp_path / "backbone", family=family, size=size, queries=7, joint_blocks=1)
    pixels = torch.randn(2, 3, size, size)
    torch.testing.assert_close(
        features(start.network, pixels), backbone(pixels).last_hidden_state, atol=1e-4, rtol=1e-4
    )
    parameters = {name for name, _ in start.network.named_parameters()}
    assert start.new == {name for name in parameters if name.startswith(QUERIES_AND_HEADS)}
    assert (start.network.settings.num_queries, start.network.settings.num_blocks) == (7, 1)
    save_checkpoint(start.network, tmp_path / "out", classes(*NAMES), "panoptic")
    load_checkpoint(tmp_path / "out")


def test_patches_of_14_pixels_give_for_enlarged_images_of_16_what_they_gave_for_the_images(tmp_path: Path) -> None:
    """As DINOv2 is published: each patch of 14 pixels, enlarged by itself to 16, is the same token."""
    config = Dinov2WithRegistersConfig(**{**DINOV2, "patch_size": 14, "image_size": 4 * 14})
    backbone = random_backbone(Dinov2WithRegistersModel, config)
    backbone.save_pretrained(tmp_path / "backbone")
    start = started(tmp_path / "backbone", size=4 * 16)
    assert "patches of 14 pixels resampled to 16" in start.notes
    pixels = torch.randn(2, 3, 56, 56)
    patches = F.unfold(pixels, 14, stride=14).transpose(1, 2).reshape(-1, 3, 14, 14)
    enlarged = F.interpolate(patches, (16, 16), mode="bicubic", antialias=True)
    image = F.fold(enlarged.reshape(2, 16, -1).transpose(1, 2), (64, 64), 16, stride=16)
    torch.testing.assert_close(features(start.network, image), backbone(pixels).last_hidden_state, atol=1e-4, rtol=1e-4)


def test_names_of_transformers_5_and_of_its_classifiers_are_known_too(tmp_path: Path) -> None:
    config = Dinov2WithRegistersConfig(**DINOV2, use_swiglu_ffn=True)
    backbone = random_backbone(Dinov2WithRegistersModel, config)
    backbone.save_pretrained(tmp_path / "backbone")
    expected = started(tmp_path / "backbone", size=SIDE).network.state_dict()
    in_memory = {name: value.contiguous() for name, value in backbone.state_dict().items()}
    assert set(in_memory) != set(load_file(tmp_path / "backbone" / "model.safetensors"))
    save_file(in_memory, tmp_path / "backbone" / "model.safetensors")
    classifier = Dinov2WithRegistersForImageClassification(config)
    classifier.dinov2_with_registers.load_state_dict(backbone.state_dict())
    classifier.save_pretrained(tmp_path / "classifier")
    for folder in ("backbone", "classifier"):
        found = started(tmp_path / folder, size=SIDE).network.state_dict()
        assert all(torch.equal(value, expected[name]) for name, value in found.items() if name.startswith("layers."))


@pytest.mark.parametrize(("layers", "blocks"), [(2, 1), (6, 2), (12, 3), (24, 4)])
def test_a_backbone_gets_the_sizes_of_the_published_networks(layers: int, blocks: int, tmp_path: Path) -> None:
    config = DINOv3ViTConfig(**{**DINOV3, "num_hidden_layers": layers})
    DINOv3ViTModel(config).save_pretrained(tmp_path / "backbone")
    made = started(tmp_path / "backbone").network.settings
    assert (made.num_blocks, made.num_queries, made.image_size, made.num_labels) == (blocks, 200, 640, len(NAMES))


# From nothing


@pytest.mark.parametrize("family", ["videomt", "eomt"])
def test_from_nothing_is_the_demos_small_network_unless_the_settings_say_another(family: str) -> None:
    start = started("nothing", family=family)
    made = start.network.settings
    demo = load_checkpoint("demo").settings
    assert {name: getattr(made, name) for name in vars(made) if name != "num_labels"} == {
        name: getattr(demo, name) for name in vars(made) if name != "num_labels"
    }
    assert start.new == {name for name, _ in start.network.named_parameters()}
    other = started("nothing", family=family, size=64, queries=9, hidden_size=64, layers=2, joint_blocks=1).network
    assert (other.settings.image_size, other.settings.num_queries, other.settings.num_attention_heads) == (64, 9, 1)
    step = other(frames(2), other.first_queries(2))
    assert all(bool(each.isfinite().all()) for each in (step.mask_logits, step.class_logits, step.next_queries))


def test_what_is_new_depends_on_the_seed_alone(tmp_path: Path) -> None:
    folder = write_eomt(tmp_path / "mine")
    for start in ("nothing", str(folder)):
        torch.manual_seed(1)
        one = started(start, ("pallet",), seed=4, size=64, queries=20).network.state_dict()
        drawn = torch.rand(1)
        torch.manual_seed(1)
        assert torch.rand(1) == drawn, "the numbers of others depend on it"
        same, other = (
            started(start, ("pallet",), seed=seed, size=64, queries=20).network.state_dict() for seed in (4, 5)
        )
        assert all(torch.equal(value, same[name]) for name, value in one.items())
        assert not torch.equal(one["query.weight"], other["query.weight"])
        assert not torch.equal(one["class_predictor.weight"][0], other["class_predictor.weight"][0])


# What does not fit


def test_starts_of_other_kinds_are_refused(tmp_path: Path) -> None:
    write_mask2former(tmp_path / "mask2former")
    BertModel(BertConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=2, vocab_size=9)).save_pretrained(
        tmp_path / "bert"
    )
    supported = "supported: videomt, videomt_dinov3, eomt, eomt_dinov3, dinov2_with_registers, dinov3_vit"
    for kind in ("mask2former", "bert"):
        assert f"config.json: model_type is '{kind}', {supported}" in refusal(tmp_path / kind)
    assert "there is no folder" in refusal(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    assert "has no config.json" in refusal(tmp_path / "empty")


def test_settings_that_do_not_fit_the_start_are_refused(tmp_path: Path) -> None:
    folder = write_eomt(tmp_path / "mine")
    assert "image_size is 250, expected a multiple of patch_size (16)" in refusal(folder, size=250)
    assert "num_blocks is 9, expected at most num_hidden_layers (4)" in refusal(folder, joint_blocks=9)
    assert "image_size is 250" in refusal("nothing", size=250)
    assert "hidden_size is 100, expected a multiple of 64" in refusal("nothing", hidden_size=100)
    with pytest.raises(CheckpointError, match="num_labels is 10001, expected a whole number from 1 to 10000"):
        started(folder, tuple(str(number) for number in range(10_001)))
    with pytest.raises(CheckpointError, match="the names of the classes have 600000 bytes in all"):
        started(folder, tuple(f"{number:0200}" for number in range(3000)))


def test_ten_thousand_classes_are_saved_and_loaded(tmp_path: Path) -> None:
    names = tuple(f"class number {number}" for number in range(10_000))
    start = started("nothing", names, size=32, hidden_size=64, layers=1, queries=2)
    save_checkpoint(start.network, tmp_path / "out", classes(*names), "panoptic")
    assert load_checkpoint(tmp_path / "out").labels.class_names == names


def spoil_config(**entries: Any) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**config, **entries}))

    return spoil


def spoil_weights(change: Callable[[dict[str, Tensor]], object]) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        weights = load_file(folder / "model.safetensors")
        change(weights)
        save_file(weights, folder / "model.safetensors")

    return spoil


def only_pickled(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def truncate(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:5000])


NORM = "encoder.layer.1.norm1.weight"
PLACES = "embeddings.position_embeddings"
KERNEL = "embeddings.patch_embeddings.projection.weight"


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (only_pickled, "only pickled weights (pytorch_model.bin), and unpickling can run any code"),
        (truncate, "is truncated or no safetensors file"),
        (spoil_weights(lambda weights: weights.pop(NORM)), "1 missing (layers.1.norm1.weight)"),
        (spoil_weights(lambda weights: weights.update(extra=torch.ones(2))), "1 unknown (extra)"),
        (
            spoil_weights(lambda weights: weights.update({NORM: torch.ones(31)})),
            "1 of another shape (layers.1.norm1.weight is (31,), expected (32,))",
        ),
        (
            spoil_weights(lambda weights: weights[NORM].fill_(torch.nan)),
            "1 with NaN or infinite numbers (layers.1.norm1",
        ),
        (
            spoil_weights(lambda weights: weights.update({NORM: torch.ones(32, dtype=torch.int32)})),
            f"1 not floating point ({NORM})",
        ),
        (
            spoil_weights(lambda weights: weights.update({PLACES: torch.ones(1, 16, 32)})),
            f"1 missing ({PLACES}.weight)",
        ),
        (spoil_weights(lambda weights: weights.update({PLACES: torch.ones(3)})), "a backbone of shapes that none has"),
        (
            spoil_weights(lambda weights: weights.update({KERNEL: torch.ones(32, 3, 8, 9)})),
            f"({KERNEL} is (32, 3, 8, 9)",
        ),
        (spoil_weights(lambda weights: weights.update({KERNEL: torch.ones(1, 1, 99, 99)})), "of another shape"),
        (spoil_config(num_hidden_layers=4), "missing (layers.3.norm1.weight"),
        (spoil_config(num_hidden_layers="many"), "num_hidden_layers is 'many', expected a whole number"),
        (spoil_config(hidden_size=[32]), "hidden_size is [32], expected a whole number"),
        (spoil_config(hidden_size=30_000, num_attention_heads=100), "of another shape"),
        (spoil_config(num_channels=4), "num_channels is 4, expected 3"),
        (spoil_config(use_swiglu_ffn=True), "missing (layers.0.mlp.gate_proj.weight"),
        (spoil_config(model_type="dinov3_vit"), "are not those of its config.json"),
    ],
)
def test_a_broken_backbone_is_refused_with_what_is_wrong(
    spoil: Callable[[Path], None], said: str, tmp_path: Path
) -> None:
    folder = tmp_path / "backbone"
    random_backbone(Dinov2WithRegistersModel, Dinov2WithRegistersConfig(**DINOV2)).save_pretrained(folder)
    spoil(folder)
    assert said in refusal(folder)


def test_a_broken_network_is_refused_as_the_engine_refuses_it(tmp_path: Path) -> None:
    folder = save(random_network(), tmp_path / "mine")
    truncate(folder)
    assert "is truncated or no safetensors file" in refusal(folder)
    only_pickled(folder)
    assert "only pickled weights" in refusal(folder)

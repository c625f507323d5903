"""Learning rates and groups of parameters."""

from __future__ import annotations

import pytest
import torch

from eomt_ros.engine.networks import Dinov2Settings, Videomt
from eomt_ros.training.errors import TrainingError
from eomt_ros.training.optimizer import Optimizers, freeze, groups_of, learning_rate
from eomt_ros.training.settings import TrainingSettings

SETTINGS = TrainingSettings(steps=1000, minutes=0, layer_decay=0.5, weight_decay=0.1, warmup_new=10, warmup_backbone=20)


def network() -> Videomt:
    torch.manual_seed(0)
    return Videomt(
        Dinov2Settings(2, hidden_size=8, num_hidden_layers=4, num_attention_heads=2, image_size=32, num_blocks=2,
                       num_queries=3, num_register_tokens=1)
    )  # fmt: skip


def test_rates_decay_from_block_to_block_and_joint_blocks_and_heads_have_the_full_one() -> None:
    scales = {name: group.scale for group in groups_of(network(), SETTINGS, frozenset()) for name in group.names}
    assert scales["layers.3.norm1.weight"] == scales["layers.2.norm1.weight"] == 1
    assert scales["layers.1.norm1.weight"] == 0.25
    assert scales["layers.0.norm1.weight"] == 0.125
    assert scales["embeddings.position_embeddings.weight"] == 0.125
    assert scales["layernorm.weight"] == scales["query.weight"] == scales["class_predictor.weight"] == 1
    assert set(scales) == {name for name, _ in network().named_parameters()}


def test_norms_biases_and_embeddings_do_not_decay() -> None:
    decays = {name: group.weight_decay for group in groups_of(network(), SETTINGS, frozenset()) for name in group.names}
    for name, parameter in network().named_parameters():
        matrix = parameter.ndim > 1 and not name.startswith(("embeddings", "query.weight"))
        assert decays[name] == (0.1 if matrix else 0.0), name


def test_what_is_new_warms_up_first_and_the_backbone_waits_for_it() -> None:
    rates = [[learning_rate(SETTINGS, new, step, step / 1000) for step in range(60)] for new in (True, False)]
    decay = [(1 - step / 1000) ** 0.9 * 1e-4 for step in range(60)]
    assert rates[0] == pytest.approx([min(1, step / 10) * each for step, each in enumerate(decay)])
    assert rates[1] == pytest.approx([min(1, max(0, (step - 10) / 20)) * each for step, each in enumerate(decay)])
    assert learning_rate(SETTINGS, True, 1000, 1.0) == 0


def test_warm_ups_of_a_short_run_take_a_share_of_it() -> None:
    settings = TrainingSettings(steps=100, minutes=0, warmup_new=500, warmup_backbone=1000)
    assert learning_rate(settings, True, 5, 0.05) == pytest.approx(1e-4 * 0.95**0.9)
    assert learning_rate(settings, False, 4, 0.04) == 0
    assert learning_rate(settings, False, 10, 0.10) == pytest.approx(0.5e-4 * 0.9**0.9, rel=0.02)
    assert learning_rate(settings, False, 15, 0.15) == pytest.approx(1e-4 * 0.85**0.9)


def test_what_is_new_in_the_backbone_has_the_full_rate_at_once() -> None:
    (group,) = [
        group
        for group in groups_of(network(), SETTINGS, frozenset({"layers.0.norm1.weight"}))
        if "layers.0.norm1.weight" in group.names
    ]
    assert (group.scale, group.is_new) == (1, True)


def test_a_frozen_encoder_stays_as_it_is() -> None:
    trained = network()
    settings = TrainingSettings(freeze_encoder=True, warmup_new=0, warmup_backbone=0)
    freeze(trained, settings)
    before = {name: weight.clone() for name, weight in trained.named_parameters()}
    for parameter in trained.parameters():
        parameter.grad = torch.ones_like(parameter)
    Optimizers(trained, settings, frozenset()).step(1, 0.0, 1.0)
    moved = {name for name, weight in trained.named_parameters() if not torch.equal(weight, before[name])}
    still = {name for name in before if name.startswith(("embeddings", "layers.0", "layers.1"))}
    assert moved == set(before) - still


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_an_optimizer_goes_on_from_its_state(optimizer: str) -> None:
    settings = TrainingSettings(optimizer=optimizer, warmup_new=0, warmup_backbone=0)
    if optimizer == "muon" and not hasattr(torch.optim, "Muon"):
        with pytest.raises(TrainingError, match="needs torch"):
            Optimizers(network(), settings, frozenset())
        return
    whole, first, second = network(), network(), network()

    def train(trained: Videomt, optimizers: Optimizers, steps: range) -> None:
        for step in steps:
            generator = torch.Generator().manual_seed(step)
            for parameter in trained.parameters():
                parameter.grad = torch.randn(parameter.shape, generator=generator)
            optimizers.step(step, step / 6, 1.0)

    train(whole, Optimizers(whole, settings, frozenset()), range(6))
    begun = Optimizers(first, settings, frozenset())
    train(first, begun, range(3))
    second.load_state_dict(first.state_dict())
    resumed = Optimizers(second, settings, frozenset())
    resumed.restore(begun.state())
    train(second, resumed, range(3, 6))
    assert not torch.equal(first.layers[0].mlp.fc1.weight, whole.layers[0].mlp.fc1.weight)
    for name, weight in whole.named_parameters():
        assert torch.equal(weight, dict(second.named_parameters())[name]), name

"""Worlds to train on, to validate with and to score on are never the same."""

from __future__ import annotations

from itertools import combinations, product

from demo import BAG_SEED, EXTRA_CLASSES, RIG_SEEDS, SEEDS, SITES, world_name


def test_no_seed_is_for_two_uses_or_two_kinds_of_world() -> None:
    uses = [seeds for kind in SEEDS.values() for seeds in (kind.evaluation, kind.validation, kind.training)]
    shipped = [{BAG_SEED, *RIG_SEEDS.values()}]
    assert all(set(first).isdisjoint(second) for first, second in combinations([*uses, *shipped], 2))


def test_every_kind_of_world_has_seeds_and_a_name() -> None:
    assert set(SEEDS) == set(product(SITES, (None, *EXTRA_CLASSES)))
    assert world_name(100, 20.0, "day", None) == "100_20s"
    assert world_name(140, 2.5, "night", "pallet") == "night_pallet_140_2.5s"

"""`eomt-ros models`: what comes with the package."""

from __future__ import annotations

import argparse


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command to the command line."""
    parser = commands.add_parser(
        "models",
        help="list the models that are known",
        description="List the models that are published and known to run, with task, data set, number of classes, "
        "network, pixels of its input's side, what computer it takes, and licence of the weights. What computer is a "
        "guess by the number of parameters, and for inputs of 1024 and more always a desktop GPU: measure with "
        "eomt-ros evaluate. Any other model of these families runs too: your own, or one that eomt-ros convert made. "
        "Hub ids are downloaded on first use.",
    )
    parser.set_defaults(command=run)


def run(_: argparse.Namespace) -> None:
    """Prints them. Raises `LabelsError`."""
    from eomt_ros.engine.model.families import FAMILIES
    from eomt_ros.engine.model.labels import shipped_tables, task_of
    from eomt_ros.engine.model.zoo import published
    from eomt_ros.package_data import shipped

    tables = list(shipped_tables())
    rows = [("model", "family", "task", "labels", "classes", "network", "size", "runs on", "licence")]
    for model in published():
        table, task = next((table, task) for table in tables if (task := task_of(model.id, table)) is not None)
        classes = str(len(table.class_names))
        family = FAMILIES[model.family].name
        rows.append(
            (model.id, family, task, table.name, classes, model.network, model.image_size, model.runs_on, model.licence)
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(word.ljust(width) for word, width in zip(row, widths, strict=True)).rstrip())
    try:
        print(f"\nmodel demo comes with the package: {shipped('checkpoint', 'demo/checkpoint')}")
    except FileNotFoundError:
        print("\nmodel demo is missing from this installation")

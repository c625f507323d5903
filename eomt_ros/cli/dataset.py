"""`eomt-ros dataset`: recordings become a data set that a model can be trained on."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from eomt_ros.cli.evaluation_arguments import add_input_arguments, add_truth_arguments, truth_source
from eomt_ros.cli.model_arguments import add_model_arguments, load_model
from eomt_ros.errors import UserError

if TYPE_CHECKING:
    from eomt_ros.engine.model.labels import Labels
    from eomt_ros.evaluation.predictions import EnginePredictions
    from eomt_ros.evaluation.sources.sequence import FrameSequence
    from eomt_ros.training.choosing import PickOptions
    from eomt_ros.training.picking import Labeller, WrittenDataset

TRUTH_OPTIONS = ("truth", "truth_classes", "truth_instances", "truth_map", "truth_tolerance")


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command to the command line."""
    parser = commands.add_parser(
        "dataset",
        help="make a data set for training of recordings",
        description="Take pictures and labels out of recordings into a data set to train on: the ground truth where "
        "there is one, else what a model finds (--prelabel), to be corrected with an annotation tool.",
    )
    parser.set_defaults(command=run)
    add_input_arguments(parser, split="train")
    parser.add_argument("--out", type=Path, metavar="DATA", help="the folder to write")
    parser.add_argument(
        "--check", action="store_true", help="instead: say what is wrong with the data set that is the input"
    )
    parser.add_argument(
        "--corrections",
        type=Path,
        metavar="FILE",
        help="instead: give the pictures of the data set that is the input the annotations in this file of COCO "
        "instances, as an annotation tool wrote it",
    )
    _add_pick_arguments(parser)
    parser.add_argument(
        "--labels",
        default="",
        metavar="YAML",
        help="a table of the data's classes, in the order of the ground truth's ids (default: those of a data set "
        "that is read, or of the model)",
    )
    parser.add_argument(
        "--prelabel",
        metavar="MODEL",
        help="label with what this model finds, with ids that last; of the classes of --labels those that it knows",
    )
    parser.add_argument(
        "--unlabelled", action="store_true", help="take frames without ground truth too, to be labelled by hand"
    )
    add_truth_arguments(parser)
    parser.add_argument("--model", default="", help="the model by which frames are hard (default: that of --prelabel)")
    add_model_arguments(parser, without=("model", "labels"))


def _add_pick_arguments(parser: argparse.ArgumentParser) -> None:
    picks = parser.add_mutually_exclusive_group()
    picks.add_argument(
        "--every", type=float, metavar="SECONDS", help="take one frame in so many seconds (default: all)"
    )
    picks.add_argument(
        "--hard",
        type=int,
        metavar="COUNT",
        help="take so many frames that teach --model most, spread over time; picked.csv in DATA says why each",
    )
    parser.add_argument(
        "--around",
        type=int,
        default=0,
        metavar="COUNT",
        help="with --every or --hard: take so many frames before and after each, too, as training on video needs "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--val",
        type=_share_or_names,
        default="0.2",
        metavar="SHARE|NAMES",
        help="share of the recordings that is for validation, or of the only one its end; or their names, with commas "
        "between them (default: %(default)s)",
    )


def _share_or_names(text: str) -> float | tuple[str, ...]:
    try:
        share = float(text)
    except ValueError:
        return tuple(name.strip() for name in text.split(",") if name.strip())
    if not 0 <= share <= 1:
        raise argparse.ArgumentTypeError(f"{text}, expected a share from 0 to 1, or names of recordings")
    return share


def run(options: argparse.Namespace) -> int:
    """Writes, corrects or checks the data set and returns the exit code. Raises `UserError`, `OSError`."""
    from eomt_ros.training.corrections import correct
    from eomt_ros.training.picking import PICKED

    if options.check:
        return _check(_data_set(options, "--check"))
    if options.corrections is not None:
        print(f"{options.corrections}: {correct(_data_set(options, '--corrections'), options.corrections).text()}")
        return 0
    picks = _pick_options(options)
    written = _written(options, picks)
    print(f"{options.out}: {_summary(options.out)}")
    if picks.picks:
        print(f"{options.out / PICKED} says why each was picked")
    for problem in written.problems:
        print(f"note: {problem}")
    return int(not written.is_complete)


def _check(folder: Path) -> int:
    from eomt_ros.evaluation.progress import Progress
    from eomt_ros.training.dataset_check import check_dataset

    with Progress(None) as progress:
        checked = check_dataset(folder, progress.update)
    print(checked.text())
    return int(bool(checked.errors))


def _data_set(options: argparse.Namespace, flag: str) -> Path:
    """The data set that is there already, in place of recordings."""
    path: Path = options.input[0]
    if len(options.input) > 1 or options.out is not None:
        raise UserError(f"{flag} is about one data set that is there: eomt-ros dataset DATA {flag}, without --out")
    return path


def _pick_options(options: argparse.Namespace) -> PickOptions:
    from eomt_ros.evaluation.output_folder import expect_no_input
    from eomt_ros.training.choosing import PickOptions

    if options.out is None:
        raise UserError("--out DATA is missing: the folder to write")
    if options.out.exists() and (not options.out.is_dir() or any(options.out.iterdir())):
        raise UserError(f"--out {options.out} exists: give another folder for the data set, or remove it")
    expect_no_input(options.out, options.input)
    if options.every is not None and not options.every > 0:
        raise UserError(f"--every is {options.every:g}, expected seconds above 0")
    if options.hard is not None and options.hard < 1:
        raise UserError(f"--hard is {options.hard}, expected a number of frames from 1 on")
    if options.hard is None and options.model:
        raise UserError(f"--model {options.model} says which frames are hard: give --hard COUNT, too")
    if options.hard is not None and not (options.model or options.prelabel):
        raise UserError("--hard needs --model MODEL: the one that the frames are to teach")
    if options.around < 0:
        raise UserError(f"--around is {options.around}, expected a number of frames from 0 on")
    if options.around and options.every is None and options.hard is None:
        raise UserError("--around goes with --every or --hard: without them all frames are taken")
    if options.prelabel:
        for name in (*TRUTH_OPTIONS, "unlabelled"):
            if getattr(options, name) not in (None, False):
                raise UserError(f"--{name.replace('_', '-')} and --prelabel exclude each other: give one of them")
    return PickOptions(options.every, options.hard, options.around, options.val)


def _written(options: argparse.Namespace, picks: PickOptions) -> WrittenDataset:
    from eomt_ros.engine.model.labels import load_labels
    from eomt_ros.engine.model.taxonomy import robot_labels
    from eomt_ros.evaluation.predictions import EnginePredictions
    from eomt_ros.evaluation.sources import open_sequences
    from eomt_ros.training.picking import Picking, TrueLabels
    from eomt_ros.training.prelabel import Prelabels

    truth = None if options.prelabel else truth_source(options)
    sequences = open_sequences(options.input, topics=options.topics, truth=truth, split=options.split)
    hard: EnginePredictions | None = None
    labeller: Labeller
    if options.prelabel:
        segmenter = load_model(options, model=options.prelabel, labels="")
        classes = robot_labels(load_labels(options.labels) if options.labels else segmenter.labels)
        labeller = Prelabels(segmenter, classes.labels.class_names)
        if options.hard is not None and options.model in ("", options.prelabel):
            hard = EnginePredictions(segmenter)
    else:
        classes = robot_labels(_named_classes(options, sequences), options.taxonomy, options.classes)
        labeller = TrueLabels(keeps_others=options.unlabelled)
    if options.hard is not None and hard is None:
        taxonomy = {} if options.prelabel else {"taxonomy": "", "classes": ()}
        hard = EnginePredictions(load_model(options, model=options.model, labels="", **taxonomy))
    return Picking(sequences, classes, labeller, picks, hard).write(options.out)


def _named_classes(options: argparse.Namespace, sequences: Sequence[FrameSequence]) -> Labels:
    """The classes of the ground truth. Raises `UserError` where nothing says what they are called."""
    from eomt_ros.engine.model.checkpoint import load_model_labels
    from eomt_ros.engine.model.labels import load_labels, shipped_tables

    if not options.unlabelled and all(each.truth is None for each in sequences):
        names = ", ".join(each.name for each in sequences[:5])
        raise UserError(
            f"{names}: there is no ground truth; say where it is (--truth, --truth-classes), let a model label "
            "(--prelabel MODEL), or take the frames to be labelled by hand (--unlabelled)"
        )
    own = {each.class_names: each.name for each in sequences if each.class_names is not None}
    if len(own) > 1:
        raise UserError(f"{' and '.join(own.values())} have different classes: make a data set of each")
    known = next(iter(own), None)
    if options.labels:
        labels = load_labels(options.labels)
        if known not in (None, labels.class_names):
            raise UserError(f"--labels {options.labels} has other classes than {own[known]}, which has its own")
    elif known is not None:
        named = next((table for table in shipped_tables() if table.class_names == known), None)
        if named is None:
            raise UserError(
                f"--labels YAML is missing: no shipped table has the classes of {own[known]}, {known[:5]} ..."
            )
        labels = named
    elif options.model:
        labels = load_model_labels(options.model)
    else:
        raise UserError("--labels YAML is missing: it says what the classes of the ground truth are called")
    return labels


def _summary(folder: Path) -> str:
    """What a data set has, in a line."""
    from eomt_ros.evaluation.counting import counted
    from eomt_ros.training.annotation_files import TRAIN, VAL
    from eomt_ros.training.data_summary import summary_of

    parts = summary_of(folder).parts
    train, val = (
        f"{counted(parts[split].frames, 'picture')} of {counted(parts[split].videos, 'video')} {what}"
        for split, what in ((TRAIN, "to train on"), (VAL, "to validate with"))
    )
    empty = [name for name, pixels in parts[TRAIN].pixels.items() if not pixels]
    without = f"; nothing to train on of {', '.join(empty)}" if empty else ""
    return f"{train}, {val}, {counted(len(parts[TRAIN].pixels), 'class', 'classes')}{without}"

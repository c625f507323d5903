"""The training of a network: single images first, then streams whose queries are carried from chunk to chunk.

Everything random follows from the seed and the step, so that a run which was killed and resumed ends as one that was
not, and any number of processes trains as one does. Processes, devices and precision are Accelerate's.
"""

from __future__ import annotations

import copy
import math
import sys
import threading
import time
import warnings
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import torch
from torch import Tensor
from tqdm import tqdm

from eomt_ros.training.annealing import annealed_masking
from eomt_ros.training.clips import Clip, ImageSampler, StreamSampler
from eomt_ros.training.dataset import Dataset
from eomt_ros.training.errors import TrainingError
from eomt_ros.training.losses import Loss, batch_loss, clip_generators
from eomt_ros.training.matching import Identities
from eomt_ros.training.optimizer import Optimizers, freeze
from eomt_ros.training.outcome import Outcome, validation_figures, validation_line
from eomt_ros.training.run_log import RunLog
from eomt_ros.training.schedule import Stage, share_of_run, stages_of
from eomt_ros.training.settings import TrainingSettings
from eomt_ros.training.start import Start
from eomt_ros.training.state import RunState, load_state, save_state
from eomt_ros.training.trainee import Outputs, Trainee

if TYPE_CHECKING:
    from accelerate import Accelerator

RUN_FOLDER = "run"
"""Of the run's state, within the folder of its results."""
HALF = 0.5
"""Of the learning rate, once the loss was not finite."""


@dataclass(frozen=True)
class Job:
    """What is to be trained."""

    dataset: Dataset
    start: Start
    settings: TrainingSettings
    """With the size that the network has."""
    out: Path
    replay: Dataset | None = None
    stop: threading.Event = field(default_factory=threading.Event)
    """Ends the run after the step in hand, for `--resume`."""


class NotFiniteLossError(Exception):
    """A loss or a gradient that is NaN or infinite; the message says at which step and picture."""


class Training:
    """A run, from its start or from the state that it left.

    Raises `TrainingError` where it cannot be done, `DatasetError` for pictures, `OSError`.
    """

    def __init__(self, job: Job, accelerator: Accelerator) -> None:
        self._job, self._settings = job, job.settings
        self._accelerator = accelerator
        self._rank, self._world = accelerator.process_index, accelerator.num_processes
        expect_enough(job.settings, self._world)
        network = job.start.network
        freeze(network, job.settings)
        self._trainee = Trainee(network, job.settings).train()
        self._average = copy.deepcopy(network).to(accelerator.device).eval().requires_grad_(False)
        self._first_weights = {name: weight.clone() for name, weight in network.state_dict().items()}
        # It is about dimensions of one entry, whose strides mean nothing.
        warnings.filterwarnings("ignore", "Grad strides do not match bucket view strides")
        self._model = accelerator.prepare(self._trainee)
        self._parameters = [each for each in network.parameters() if each.requires_grad]
        self._stages = stages_of(job.settings, with_images=not job.start.begins_with_streams)
        self._anneals = job.settings.masking and any(name.startswith("mask_head.") for name in job.start.new)
        self._frames = sum(len(video.frames) for video in job.dataset.train)

    def run(self, *, resume: bool) -> bool:
        """Trains to the end and returns True; False where it was stopped before."""
        state = load_state(self._job.out / RUN_FOLDER) if resume else None
        if state is not None and state.finished:
            raise TrainingError(f"the run in {self._job.out} is finished, after {state.step} steps: give another --out")
        self._restore(state or RunState(network=self._first_weights, average=self._first_weights))
        log: AbstractContextManager[RunLog | None] = nullcontext()
        self._outcome: Outcome | None = None
        if self._is_main:
            log = RunLog(self._job.out, self.state.step)
            begun = None if state is None else state.step
            folder = self._job.out / RUN_FOLDER
            self._outcome = Outcome(self._job.out, folder, self._job.dataset, self._settings, begun)
        try:
            with log as self._log, self._bar() as self._progress:
                self._validate_when_due()
                while self._share < 1 and not self._stopped:
                    self._step_or_go_back()
            self._end()
        finally:
            self._sampler.close()
        return not self._stopped

    @property
    def _is_main(self) -> bool:
        return bool(self._accelerator.is_main_process)

    @property
    def _stage(self) -> Stage:
        return self._stages[self.state.stage]

    @property
    def _share(self) -> float:
        return share_of_run(self._settings, self.state, self._frames)

    def _bar(self) -> tqdm[NoReturn]:
        shown = "{percentage:3.0f} % |{bar}| {elapsed}, {remaining} left{postfix}"
        interval = 0.5 if sys.stderr.isatty() else 30.0
        off = not self._is_main
        return tqdm(total=1.0, initial=self._share, bar_format=shown, mininterval=interval, disable=off)

    def _restore(self, state: RunState) -> None:
        """Goes on from a state, whatever was before."""
        self.state = state
        self._stopped = False
        self._saved = time.monotonic()
        self._trainee.network.load_state_dict(state.network)
        self._average.load_state_dict(state.average)
        self._begin_stage()
        if state.optimizers:
            self._optimizers.restore(state.optimizers)
        if state.sampler and isinstance(self._sampler, StreamSampler):
            self._sampler.restore(state.sampler)
        device = self._accelerator.device
        for slot, each in state.streams.items():
            self._carried[slot] = each["carried"].to(device)
            self._identities[slot] = Identities(self._settings.forget_after)
            self._identities[slot].restore(each["identities"])

    def _begin_stage(self) -> None:
        """The optimizer and the samples of a stage.

        A new optimizer, with its warm-up: streams that began with the one of single images, and its sense of scale,
        took the demo's network apart.
        """
        if hasattr(self, "_sampler"):
            self._sampler.close()
        kind = StreamSampler if self._stage.streams else ImageSampler
        self._sampler: StreamSampler | ImageSampler = kind(
            self._job.dataset, self._settings, self._settings.seed, self._job.replay, self._job.start.added
        )
        self._optimizers = Optimizers(self._trainee.network, self._settings, self._job.start.new)
        self._carried: dict[int, Tensor] = {}
        self._identities: dict[int, Identities] = {}

    def _step_or_go_back(self) -> None:
        """One step with all that is due after it."""
        try:
            self._step()
        except NotFiniteLossError as error:
            self._go_back(error)
            return
        share = self._share
        if self._stage.end <= share < 1:
            self.state.stage, self.state.stage_step = self.state.stage + 1, 0
            self._begin_stage()
        self._validate_when_due()
        # The main process's clock: all of them gather what is saved.
        if self._stopped or self._agreed(time.monotonic() >= self._saved + self._settings.save_every):
            self._save()

    def _step(self) -> None:
        begun = time.monotonic()
        state, settings = self.state, self._settings
        share = self._share
        clips = self._sampler.batch(state.stage_step, self._rank, self._world)
        masked = self._anneals and (self._stage.name == "images" or len(self._stages) == 1)
        blocks = self._trainee.network.settings.num_blocks
        self._trainee.masking = annealed_masking(self._stage.share(share), blocks) if masked else (0.0,) * blocks
        parts = [clips[index :: settings.accumulate] for index in range(settings.accumulate)]
        self._trainee.zero_grad(set_to_none=True)
        losses, faulty = [], []
        for index, part in enumerate(parts):
            last = index == len(parts) - 1
            with nullcontext() if last else self._accelerator.no_sync(self._model):
                loss, outputs = self._loss(part)
                self._accelerator.backward(loss.total / len(parts))
            losses.append(loss)
            if not torch.isfinite(loss.total):
                faulty += faulty_pictures(part, outputs)
        norm = torch.nn.utils.clip_grad_norm_(self._parameters, settings.clip_norm or math.inf)
        by_name = {name: sum(float(each.by_name[name]) for each in losses) / len(parts) for name in losses[0].by_name}
        total = sum(float(each.total.detach()) for each in losses) / len(parts)
        figures = self._over_all([total, *by_name.values(), float(self._job.stop.is_set()), float(bool(faulty))])
        if not math.isfinite(figures[0]) or figures[-1] or not torch.isfinite(norm):
            raise NotFiniteLossError(self._where(faulty or pictures_of(clips)))
        rate = self._optimizers.step(state.stage_step, self._stage.share(share), HALF if state.went_back else 1.0)
        self._average_weights()
        state.step, state.stage_step = state.step + 1, state.stage_step + 1
        state.frames += settings.streams * settings.chunk if self._stage.streams else settings.batch
        seconds = self._from_main(time.monotonic() - begun)
        state.seconds += seconds
        self._stopped = figures[-2] > 0
        values = dict(zip(by_name, figures[1:], strict=False))
        norms = {"gradient_norm": float(norm), "learning_rate": rate, "seconds": seconds, "minutes": state.seconds / 60}
        self._show({"loss": figures[0], **values, **norms})

    def _loss(self, clips: list[Clip]) -> tuple[Loss, Outputs]:
        """The loss of this process's clips; what they carry on is kept."""
        device = self._accelerator.device
        pixels = torch.stack([clip.pixels for clip in clips]).to(device, non_blocking=True)
        generators = clip_generators(self._settings.seed, self.state.step, clips, device)
        carried = first = None
        if self._stage.streams:
            nothing = self._trainee.network.query.weight.detach().new_zeros(())
            shape = self._trainee.network.query.weight.shape
            carried = torch.stack([self._carried.get(clip.stream, nothing.expand(shape)) for clip in clips])
            first = torch.tensor([clip.first or clip.stream not in self._carried for clip in clips], device=device)
        outputs: Outputs = self._model(pixels, carried, first, generators)
        identities = [
            self._identities.setdefault(clip.stream, Identities(self._settings.forget_after)) for clip in clips
        ]
        loss = batch_loss(outputs, clips, identities, self._settings, generators)
        if self._stage.streams:
            self._carried.update(zip((clip.stream for clip in clips), outputs.carried, strict=True))
        return loss, outputs

    def _average_weights(self) -> None:
        decay = min(self._settings.average_decay, (self.state.step + 1) / (self.state.step + 10))
        average: list[Tensor] = [*self._average.parameters()]
        weights: list[Tensor] = [*self._trainee.network.parameters()]
        with torch.no_grad():
            torch._foreach_lerp_(average, weights, 1 - decay)

    def _over_all(self, values: list[float]) -> list[float]:
        """The mean of each value over the processes."""
        return self._accelerator.reduce(torch.tensor(values, device=self._accelerator.device), "mean").tolist()

    def _from_main(self, value: float) -> float:
        """The main process's value, in all."""
        return self._over_all([value * self._world if self._is_main else 0.0])[0]

    def _agreed(self, value: bool) -> bool:
        """What the main process says."""
        return self._from_main(float(value)) > 0.5

    def _where(self, pictures: list[str]) -> str:
        shown = ", ".join(dict.fromkeys(pictures[:3]))
        more = f" and {len(pictures) - 3} more" if len(pictures) > 3 else ""
        return f"the loss is not finite at step {self.state.step + 1}, on {shown}{more}"

    def _go_back(self, error: NotFiniteLossError) -> None:
        """To the last state that was saved, with half the rate; raises `TrainingError` the second time."""
        if self.state.went_back:
            raise TrainingError(
                f"{error}, again, with half the learning rate; the run ends: give a lower learning_rate than "
                f"{self._settings.learning_rate:g}, or look at these pictures and their labels"
            ) from error
        state = load_state(self._job.out / RUN_FOLDER)
        assert state is not None, "a run saves its state before its first step"
        sentence = f"{error}; back to step {state.step}, with half the learning rate"
        self._tell(sentence)
        if self._outcome is not None:
            self._outcome.note(sentence)
            self._outcome.forget_after(state.step)
        self._restore(state)
        self.state.went_back = True
        self._save()

    def _show(self, values: dict[str, float]) -> None:
        if self._log is None:
            return
        self._log.row(self.state.step, values)
        loss, rate = values["loss"], values["learning_rate"]
        told = f"{self._stage.name}, step {self.state.step}, loss {loss:.3f}, rate {rate:.1e}"
        self._progress.set_postfix_str(told, refresh=False)
        self._progress.update(self._share - self._progress.n)

    def _tell(self, line: str) -> None:
        if self._is_main:
            self._progress.write(f"eomt-ros train: {line}", file=sys.stderr)

    def _validate_when_due(self) -> None:
        """Validates before the first step, after every part of the run and at its end, and keeps the best."""
        due = self._share >= min(1.0, self.state.validations * self._settings.validate_every)
        if not self._agreed(due and self.state.validations <= math.ceil(1 / self._settings.validate_every)):
            return
        self.state.validations = 1 + int(self._share / self._settings.validate_every)
        if self._outcome is not None:
            found = self._outcome.validate(self._average, self.state.step)
            self._tell(validation_line(found))
            if self._log is not None:
                self._log.figures(self.state.step, "validation", validation_figures(found))
        self._accelerator.wait_for_everyone()
        self._save()  # so that the history and the checkpoint are not ahead of the state for long

    def _save(self) -> None:
        """Saves the state of the run; every process gives that of its streams."""
        from accelerate.utils import gather_object

        mine = {
            slot: {"carried": self._carried[slot].cpu(), "identities": self._identities[slot].state()}
            for slot in self._carried
        }
        sampler = self._sampler
        self.state.sampler = sampler.state() if isinstance(sampler, StreamSampler) and self.state.stage_step else {}
        streams: Sequence[dict[int, dict[str, object]]] = gather_object([mine])
        if self._is_main:
            self.state.streams = {slot: each for part in streams for slot, each in part.items()}
            self.state.network = self._trainee.network.state_dict()
            self.state.average = self._average.state_dict()
            self.state.optimizers = self._optimizers.state()
            save_state(self.state, self._job.out / RUN_FOLDER)
        self._accelerator.wait_for_everyone()
        self._saved = time.monotonic()

    def _end(self) -> None:
        """The checkpoint and the report; of a run that is over no more than its figures are kept."""
        if self._outcome is None:
            return
        for error in self._sampler.damaged.values():
            self._outcome.note(f"{error}: other pictures were taken for it")
        if self._stopped:
            done = f"{self._share:.0%} of the run, {self.state.step} steps"
            print(self._outcome.end(self._average, f"It was stopped after {done}; --resume goes on from there."))
            return
        print(self._outcome.end(self._average))
        self.state.finished = True
        for name in ("network", "average", "sampler", "streams"):
            setattr(self.state, name, {})
        self.state.optimizers = []
        save_state(self.state, self._job.out / RUN_FOLDER)


def expect_enough(settings: TrainingSettings, processes: int) -> None:
    """Raises `TrainingError` where a process would have nothing to do."""
    for name, count in (("batch", settings.batch), ("streams", settings.streams)):
        if count < processes * settings.accumulate:
            raise TrainingError(
                f"{name} is {count}, expected at least {processes * settings.accumulate}: one for each of {processes} "
                f"processes and each of {settings.accumulate} parts that its batch is computed in (accumulate)"
            )


def faulty_pictures(clips: list[Clip], outputs: Outputs) -> list[str]:
    """The pictures for which the network gave NaN or infinity; all of the clips' where it is the loss alone."""
    finite = torch.isfinite(outputs.answers[-1].class_logits).flatten(1).all(1)
    return pictures_of([clip for clip, good in zip(clips, finite.tolist(), strict=True) if not good] or clips)


def pictures_of(clips: Sequence[Clip]) -> list[str]:
    """The names of the clips' pictures."""
    return [picture for clip in clips for picture in clip.pictures]

"""Long commands: quiet while they go well, never silent, and outspoken when they fail."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

from environment import SetupError
from environment.layout import ROOT

PROGRESS_SECONDS = 10
TAIL_LINES = 25


def run_logged(command: list[str], log: Path, variables: dict[str, str], *, shown: tuple[str, ...]) -> None:
    """Run `command` in the repository with its output in `log`, and print now and then where it is.

    `shown` are the beginnings of the lines worth printing.
    Raises SetupError with the end of the output when the command fails.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=ROOT, env=variables, stdout=output, stderr=subprocess.STDOUT)
    try:
        while (code := _wait(process)) is None:
            news = [line for line in _lines(log) if line.startswith(shown)]
            print(f"      {time.monotonic() - start:3.0f} s  {news[-1][:90] if news else '...'}", flush=True)
    except KeyboardInterrupt:
        process.terminate()
        process.wait()
        raise
    if code != 0:
        tail = "\n".join(_lines(log)[-TAIL_LINES:])
        program = " ".join(command[:4])
        where = f"All of its output is in {log.relative_to(ROOT)}; its end:"
        raise SetupError(f"{program} ... ended with code {code}. {where}\n{tail}")


def _wait(process: subprocess.Popen[bytes]) -> int | None:
    try:
        return process.wait(timeout=PROGRESS_SECONDS)
    except subprocess.TimeoutExpired:
        return None


def _lines(log: Path) -> list[str]:
    lines = (line.strip() for line in log.read_text(errors="replace").splitlines())
    return [line for line in lines if line]

"""Pages of a single file: templates filled in, and pictures and videos put into them."""

from __future__ import annotations

import base64
import hashlib
import mimetypes
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from eomt_ros.evaluation.counting import counted
from eomt_ros.evaluation.json_file import write_whole
from eomt_ros.evaluation.report.charts import clock
from eomt_ros.evaluation.report.figures import NOTHING, Kind, as_text

TEMPLATES = Path(__file__).parent / "templates"


def fill_in(template: str, *, templates: Path = TEMPLATES, script: str = "", **content: Any) -> str:
    """The page that a file of `templates`, which may use those of `TEMPLATES`, makes of this content; all text in it is
    escaped.

    script: the only one that the page may run.
    """
    # Whatever is inserted is escaped, because names of topics, files and classes are anybody's.
    environment = Environment(
        loader=FileSystemLoader([templates, TEMPLATES]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "clock": clock,
        "counted": counted,
        "metres": lambda value: as_text(value, Kind.METRES).removesuffix(" m"),
        "ms": lambda value: as_text(value, Kind.MILLISECONDS).removesuffix(" ms"),
        "place": _place,
        "share": lambda value: as_text(value, Kind.SHARE),
        "score": lambda value: as_text(value, Kind.SCORE),
    }
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    return environment.get_template(template).render(script=script, script_hash=f"sha256-{digest}", **content)


def write_page(page: str, path: Path, figures: str) -> Path:
    """Writes a page, whole or not at all, and returns its path.

    figures: the file that has what it shows. Raises `OSError`.
    """
    try:
        write_whole(page, path)
    except OSError as error:
        raise OSError(f"{error}; the figures are in {figures}") from error
    return path


def embedded(file: Path) -> str | None:
    """A file as a `data:` address; None where it cannot be read."""
    kind = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
    try:
        return f"data:{kind};base64,{base64.b64encode(file.read_bytes()).decode('ascii')}"
    except OSError:
        return None


def said(setting: Any) -> str:
    """A setting as text for people."""
    if setting is None or setting in ("", []):
        return NOTHING
    if isinstance(setting, list | tuple):
        return ", ".join(map(said, setting))
    return str(setting).lower() if isinstance(setting, bool) else str(setting)


def flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Settings as texts, those within settings under names such as `versions.torch`."""
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", said(value)


def _place(percent: float) -> str:
    """A place in a chart as short as it can be said: a page has thousands of them."""
    return f"{percent:.2f}".rstrip("0").rstrip(".")

"""Places of the files that come with the package: label tables, demo checkpoint, message definitions."""

from pathlib import Path

PACKAGE = Path(__file__).parent


def shipped(in_package: str, in_repository: str) -> Path:
    """Finds a file or folder that an installation puts inside the package and the repository keeps beside it.

    in_package: path within the installed package. in_repository: path within the repository, if not installed.
    Raises `FileNotFoundError` that names both places.
    """
    installed, source = PACKAGE / in_package, PACKAGE.parent / in_repository
    for place in (installed, source):
        if place.exists():
            return place
    raise FileNotFoundError(f"neither {installed} nor {source} exists: install eomt_ros again, files of it are missing")

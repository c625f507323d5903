"""`python3 -m environment [command ...]`: set up what is missing, then run the command in the environment."""

import sys

# Any Python 3 can read this file, so that an old one gets an answer instead of a syntax error.
if sys.version_info < (3, 10):  # noqa: UP036
    sys.exit(
        "error: eomt_ros needs Python 3.11 or newer, and {} is Python {}.{}.\n"
        "Install one and name it, for example:\n"
        "    sudo apt install python3.11 python3.11-venv python3.11-dev\n"
        "    make PYTHON=python3.11".format(sys.executable, *sys.version_info[:2])
    )

from environment.prepare import main

sys.exit(main(sys.argv[1:]))

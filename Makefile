# Every target sets up what is missing first: on the ROS 2 that is sourced, else with the Python wheels of ROS_DISTRO.
#     make demo    make test ROS_DISTRO=jazzy    make build PYTHON=python3.12

PYTHON ?= python3
CAMERAS ?= 1
export ROS_DISTRO

define IN_ENVIRONMENT
@command -v $(PYTHON) >/dev/null || { echo "error: missing: $(PYTHON). Install with:" >&2; \
	echo "    sudo apt install python3 python3-venv python3-dev" >&2; exit 1; }; $(PYTHON) -m environment
endef

# Most tests use one core or wait; a process has a file of tests at a time, and a gigabyte of memory.
SIDE_BY_SIDE = -n logical --maxprocesses 4 --dist loadfile

.PHONY: help build demo test check bench clean

help:
	@echo "make build   set up Python and ROS 2, build the messages and the package"
	@echo "make demo    run the node on the demo bag; leaves demo_out/overlay.mp4 and overlay.png (CAMERAS=2: on two cameras)"
	@echo "make test    run the tests, ruff and mypy"
	@echo "make check   run those of them that are fast: a few minutes"
	@echo "make bench   measure speed beside the reference; leaves bench/results/"
	@echo "make clean   remove everything that the set-up and the demo made"
	@echo "ROS_DISTRO=kilted|jazzy picks the wheels where no ROS 2 is sourced; PYTHON=python3.12 the Python."

build:
	$(IN_ENVIRONMENT)

demo:
	$(IN_ENVIRONMENT) python -m demo.run --cameras "$(CAMERAS)"

test:
	$(IN_ENVIRONMENT) python -m pytest $(SIDE_BY_SIDE)

check:
	$(IN_ENVIRONMENT) python -m pytest $(SIDE_BY_SIDE) -m "not slow"

bench:
	$(IN_ENVIRONMENT) python -m bench

clean:
	rm -rf .venv .venv-* build install log demo_out *.egg-info

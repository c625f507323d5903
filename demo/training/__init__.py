"""Training of the demo checkpoint; `python -m demo.train` runs it. Needs MuJoCo (to render the worlds) and scipy."""

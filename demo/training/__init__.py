"""How the demo checkpoint is trained; `python -m demo.train` runs it. Needs MuJoCo (to render the worlds) and scipy."""

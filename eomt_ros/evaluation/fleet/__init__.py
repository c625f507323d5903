"""Many recordings: each evaluated by itself, all of them in one report."""

"""Recipes shipped with the toolkit, found by name: `--config quickstart` reads `configs/quickstart.yaml`."""

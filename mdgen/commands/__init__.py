"""The commands that need no judge; `cli.py` puts them beside those that do."""

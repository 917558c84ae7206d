"""The commands that need no judge; `cli` puts them beside those that do."""

"""What is wrong with a recipe or a run, each point with its mend: `mdgen check`."""

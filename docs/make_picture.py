"""The README's picture: real walkers beside synthetic ones, out of a finished `mdgen quickstart --out demo`."""

from pathlib import Path

from mdgen.data.dataset import read_dataset
from mdgen.figures import comparison_sheet

demo = Path("demo")
real = read_dataset(demo / "data").role("test")
sets = {"real": real, "synthetic": read_dataset(demo / "synthetic")}
comparison_sheet(sets, Path(__file__).parent / "real_and_synthetic.png", users=5)

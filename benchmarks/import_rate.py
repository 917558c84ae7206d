"""How fast is an import against a bare Pillow loop, and does its memory stay flat? Both measured in the same run.

    python benchmarks/import_rate.py --files 10000 --many 100000 --rounds 3

Times are processor seconds, so that other work on the machine does not count. Three bare Pillow loops stand beside the
import. `read` opens every picture and makes it an array of gray levels at 64x64: what nobody can leave out. `copy` also
saves that as PNG of 8 bits: its files a second are what the import is measured against. `copy16` keeps the fractions
that averaging gives and saves 16 bits, as the import does where it averages. All turn colours into gray. The import
besides checks, inverts colours, finds recordings, gives roles, and writes pictures and manifest. All take turns, with
all modules loaded before; ratios are medians over rounds. Memory is the peak of a process of its own for each number of
files; what the table itself takes is given beside it. One import is killed halfway and goes on. File systems differ in
the time they take for a new file: `--work` in memory leaves that out.
"""

from __future__ import annotations

import argparse
import json
import platform
import shutil
import statistics
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image
from scipy.ndimage import gaussian_filter

SIZE = 64
KINDS = {
    "gray PNG 64x64": (64, "L", ".png"),
    "gray PNG 256x256": (256, "L", ".png"),
    "jet JPEG 256x256": (256, "jet", ".jpg"),
}
IMPORT = """
import json, resource, sys, time
import matplotlib  # which is loaded where colours are met
from mdgen.data.importing.importer import import_dataset
from mdgen.data.importing.settings import ImportSettings
start, clock = time.process_time(), time.perf_counter()
report = import_dataset(sys.argv[1], sys.argv[2], ImportSettings(storage=sys.argv[3]))
seconds, clock = time.process_time() - start, time.perf_counter() - clock
print(json.dumps([seconds, clock, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, report.windows]))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--many", type=int, default=100_000, help="files of the large import; 0 keeps its old result")
    parser.add_argument("--rounds", type=int, default=3, help="0 keeps the old rates")
    parser.add_argument("--work", type=Path, default=Path("scratch/import_rate"))
    parser.add_argument("--result", type=Path, default=Path("benchmarks/results/import_rate.json"))
    options = parser.parse_args()
    shutil.rmtree(options.work, ignore_errors=True)
    result: dict[str, Any] = json.loads(options.result.read_text()) if options.result.exists() else {}
    result |= {"seed": 0, "python": platform.python_version()}
    result["versions"] = {name: version(name) for name in ("numpy", "pillow", "pandas", "scipy")}
    options.result.parent.mkdir(parents=True, exist_ok=True)
    if options.rounds:
        result |= {"files": options.files, "rounds": options.rounds, "rates": {}}
    for kind in KINDS if options.rounds else ():
        result["rates"][kind] = compare(kind, options)
        options.result.write_text(json.dumps(result, indent=2) + "\n")
    if options.many:
        result["many"] = many(options)
        options.result.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


def compare(kind: str, options: argparse.Namespace) -> dict[str, float]:
    """Files a second of the loops and the import, in turns."""
    source = draw(options.work / "source", options.files, *KINDS[kind])
    rates: dict[str, list[float]] = {"read": [], "copy": [], "copy16": [], "import": [], "import_to_stack": []}
    for _ in range(options.rounds):
        rates["read"].append(options.files / bare_loop(source))
        rates["copy"].append(options.files / bare_loop(source, options.work / "copy"))
        rates["copy16"].append(options.files / bare_loop(source, options.work / "copy", np.uint16))
        rates["import"].append(options.files / run_import(source, options.work / "data")[0])
        rates["import_to_stack"].append(options.files / run_import(source, options.work / "data", "stack")[0])
    shutil.rmtree(source)
    result = {f"{name}_files_per_s": round(statistics.median(values), 1) for name, values in rates.items()}
    for done, loop in (("import", "copy"), ("import", "copy16"), ("import", "read"), ("import_to_stack", "read")):
        ratios = [i / p for i, p in zip(rates[done], rates[loop], strict=True)]
        result[f"{done}_over_{loop}"] = round(statistics.median(ratios), 3)
    print(kind, result, flush=True)
    return result


def many(options: argparse.Namespace) -> dict[str, object]:
    """Rate and peak memory of a large import and of one of a tenth, and a large one that is killed and goes on."""
    source = draw(options.work / "source", options.files, *KINDS["gray PNG 64x64"])
    drawn = sorted(source.rglob("*.png"))
    for number in range(options.files, options.many):  # the same pictures again under other names
        file = drawn[number % len(drawn)]
        (file.parent / f"w{number}.png").hardlink_to(file)
    files = sorted(source.rglob("*.png"))
    data = options.work / "data"
    read_s = bare_loop(source)
    seconds, wall, peak, _ = run_import(source, data)
    table_mb = pd.read_csv(data / "manifest.csv").memory_usage(deep=True).sum() / 1e6
    shutil.rmtree(data)
    process = subprocess.Popen([sys.executable, "-c", IMPORT, source, data, "files"], stdout=subprocess.DEVNULL)
    time.sleep(wall / 2)
    process.kill()
    process.wait()
    resumed_s, _, _, windows = run_import(source, data, keep=True)
    for file in files[options.many // 10 :]:
        file.unlink()
    small_peak = run_import(source, data)[2]
    shutil.rmtree(options.work)
    growth = (peak - small_peak) / small_peak
    return {"files": options.many, "import_over_read": round(read_s / seconds, 3), "import_s": round(seconds, 1),
            "peak_mb": {options.many // 10: round(small_peak, 1), options.many: round(peak, 1)},
            "growth": round(growth, 3), "table_mb": round(table_mb, 1),
            "growth_without_table": round((peak - small_peak - 0.9 * table_mb) / small_peak, 3),
            "resumed_in_s": round(resumed_s, 1), "windows": windows}  # fmt: skip


def draw(root: Path, count: int, size: int, mode: str, suffix: str) -> Path:
    """`count` pictures of ten users; few are drawn and written under many names with their own top row."""
    rng = np.random.default_rng(0)
    colours = None
    if mode == "jet":
        import matplotlib

        colours = (matplotlib.colormaps["jet"](np.arange(256))[:, :3] * 255).round().astype(np.uint8)
    cells = (
        np.clip(gaussian_filter(rng.normal(size=(60, 64, 64)), (0, 1, 1)) * 150 + 60, 0, 130)
        + (np.hypot(*np.indices((64, 64)) - 32) < 14) * 120
    )
    for i in range(count):
        folder = root / f"ID_{i * 10 // count + 1}"
        folder.mkdir(parents=True, exist_ok=True)
        levels = np.roll(cells[i % 60], i // 60, axis=1).astype(np.uint8).repeat(size // 64, 0).repeat(size // 64, 1)
        Image.fromarray(levels if colours is None else colours[levels]).save(folder / f"w{i}{suffix}")
    return root


def bare_loop(source: Path, out: Path | None = None, levels: type = np.uint8) -> float:
    """Processor seconds to bring every picture to a gray array, and to save it as PNG of `levels` where `out` is given.

    Gray of 8 bits is resized as such; of 16 bits by way of floats, so that averages keep their fractions.
    """
    if out is not None:
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir(parents=True)
    start = time.process_time()
    for i, file in enumerate(sorted(f for f in source.rglob("*") if f.is_file())):
        with Image.open(file) as picture:
            gray = picture.convert("L" if levels == np.uint8 else "F")
            if gray.size != (SIZE, SIZE):
                gray = gray.resize((SIZE, SIZE), Image.Resampling.BOX)
            if levels == np.uint16:
                gray = Image.fromarray(np.rint(np.asarray(gray) * np.float32(257)).astype(np.uint16))
            if out is None:
                np.asarray(gray)
            else:
                gray.save(out / f"{i:06d}.png", compress_level=1)
    return time.process_time() - start


def run_import(source: Path, out: Path, storage: str = "files", keep: bool = False) -> tuple[float, float, float, int]:
    """(processor seconds, wall seconds, peak MB, windows) of an import in a process of its own, without start-up."""
    shutil.rmtree(out, ignore_errors=True)
    if not keep:
        shutil.rmtree(out.parent / f".{out.name}.importing", ignore_errors=True)
    done = subprocess.run(
        [sys.executable, "-c", IMPORT, source, out, storage], check=True, capture_output=True, text=True
    )
    return tuple(json.loads(done.stdout))  # type: ignore[return-value]


if __name__ == "__main__":
    main()

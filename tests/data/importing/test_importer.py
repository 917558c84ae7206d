"""Importing: folders of pictures become data sets with recordings and roles; killed, it goes on; a plan is shown."""

import errno
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mdgen.data.dataset import ROLES, read_dataset
from mdgen.data.importing import importer
from mdgen.data.importing.importer import import_dataset, plan_import
from mdgen.data.importing.settings import ImportSettings
from mdgen.data.rendering import find_rendering, undo_rendering
from mdgen.data.stacks import Stack
from mdgen.errors import MachineError, MdgenError
from tests.data.drawn import draw, enlarge, field
from tests.data.importing.material import folder_of, imported, save, truth, values


@pytest.mark.parametrize("kind", ["gray", "gray16", "tif", "jet", "viridis"])
def test_pictures_become_values_recordings_and_roles_that_do_not_leak(tmp_path: Path, kind: str) -> None:
    data, text = imported(folder_of(tmp_path / "in", kind), tmp_path / "out", size=32)
    assert data.users == ["ID_2", "ID_10"]
    tolerance = 2e-4 if kind == "gray16" else 0.05 if kind in ("jet", "viridis") else 0.01
    for number, user in enumerate(data.users):
        assert np.abs(data.images[data.table["user"] == user, 0] - truth(number)).max() < tolerance
    assert (data.table.groupby("user")["recording"].nunique() == 4).all()
    assert (data.table.groupby("user")["split"].unique().map(set) == set(ROLES)).all()
    assert (data.table.groupby(["user", "recording"])["split"].nunique() == 1).all()
    assert "leak share: 0.0%" in text
    assert ("gray levels" if kind not in ("jet", "viridis") else f"colour map {kind}") in text
    assert "not known: which end of the Doppler axis approaches" in text


def test_every_row_says_where_it_came_from(tmp_path: Path) -> None:
    data, _ = imported(folder_of(tmp_path / "in"), tmp_path / "out")
    assert data.table["source"][0] == "ID_2/ID_2_w1.png"
    assert all((tmp_path / "in" / source).is_file() for source in data.table["source"])


def test_arrays_in_db_are_scaled_to_their_own_peak_and_say_so(tmp_path: Path) -> None:
    data, text = imported(folder_of(tmp_path / "in", "npy"), tmp_path / "out", size=None, dynamic_range_db=40)
    assert np.allclose(data.images.max((1, 2, 3)), 1)
    assert np.allclose(data.table["db_max"] - data.table["db_min"], 40)
    level = np.load(tmp_path / "in/ID_2/ID_2_w1.npy")
    restored = (data.images[0, 0] + 1) / 2 * 40 + data.table["db_min"][0]
    assert np.allclose(restored, np.maximum(level, level.max() - 40), atol=1e-3)
    assert "in dB" in text


def test_blocks_of_numbers_are_sessions_and_recordings(tmp_path: Path) -> None:
    data, _ = imported(folder_of(tmp_path / "in"), tmp_path / "out", size=None, session_length=13, recording_length=5)
    numbers = data.table["source"].str.extract(r"_w(\d+)\.png")[0].astype(int)
    assert data.table["session"].tolist() == [f"s{(n - 1) // 13 + 1:03d}" for n in numbers]
    assert data.table["recording"].str[:4].tolist() == [f"r{(n - 1) // 5 + 1:03d}" for n in numbers]


def test_a_recording_cut_between_roles_is_named_by_its_parts(tmp_path: Path) -> None:
    data, _ = imported(folder_of(tmp_path / "in"), tmp_path / "out", size=32, recording_length=1000)
    assert (data.table.groupby(["user", "recording"])["split"].nunique() == 1).all()


def test_parts_of_an_unknown_recording_are_named_by_role_alone(tmp_path: Path) -> None:
    data, _ = imported(folder_of(tmp_path / "in", "viridis"), tmp_path / "out", size=32, colormap="rgb")
    assert set(data.table["recording"]) == {"train", "judge", "val", "test", "unused"}


def test_pictures_of_eight_bits_are_kept_level_by_level(tmp_path: Path) -> None:
    source = folder_of(tmp_path / "in")
    data, _ = imported(source, tmp_path / "out", size=32)
    pixels = np.stack([np.asarray(Image.open(source / file)) for file in data.table["source"]])
    kept = np.stack([np.asarray(Image.open(tmp_path / "out" / file)) for file in data.table["file"]])
    assert np.array_equal(kept, pixels)
    assert np.abs(data.images[:, 0] - (pixels / 127.5 - 1)).max() < 1e-6


def test_a_stack_of_all_pictures_holds_what_their_files_do(tmp_path: Path) -> None:
    source = folder_of(tmp_path / "in")
    files, _ = imported(source, tmp_path / "files", size=24)
    stack, _ = imported(source, tmp_path / "stack", size=24, storage="stack")
    assert np.load(tmp_path / "stack/images.npy").shape == (48, 24, 24)
    assert np.array_equal(files.images, stack.images)
    assert files.table.drop(columns="file").equals(stack.table.drop(columns="file"))
    assert sorted(f.name for f in (tmp_path / "files").iterdir()) == ["images", "manifest.csv"]


def walk_windows(root: Path, spans: np.ndarray, shift: int = 13) -> Path:
    """Windows of `spans` cells of two recordings, each `shift` cells after the one before, drawn on 192x192 pixels."""
    root.joinpath("ID_1").mkdir(parents=True)
    for recording, part in enumerate(np.array_split(spans, 2)):
        rng = np.random.default_rng(recording)
        speckle = rng.exponential(size=(48, shift * len(part) + 80))
        whole = np.clip(np.exp(-(((np.arange(48)[:, None] - 20) / 8) ** 2)) * (0.3 + 0.3 * speckle), 0, 1)
        for i, span in enumerate(part):
            cells = whole[:, shift * i : shift * i + span]
            places = [(np.arange(192) * n / 192).astype(int) for n in cells.shape]
            save(root / f"ID_1/w{recording * 100 + i}", cells[np.ix_(*places)], "gray")
    return root


@pytest.mark.parametrize("stretched", [False, True])
def test_the_recordings_found_do_not_depend_on_the_size(tmp_path: Path, stretched: bool) -> None:
    spans = np.random.default_rng(0).integers(50, 66, 32) if stretched else np.full(32, 64)
    source, found = walk_windows(tmp_path / "in", spans), []
    for size in (8, 64, None):
        table = imported(source, tmp_path / str(size), size=size, storage="stack")[0].table
        starts = table["native_start"].astype(float) if stretched else table["start_column"] * (64 / (size or 192))
        assert np.allclose(starts, np.tile(13 * np.arange(16), 2))
        found.append(table["recording"].tolist())
    assert found[0] == found[1] == found[2]
    assert [name[:4] for name in found[0]] == ["r001"] * 16 + ["r002"] * 16


def test_files_without_an_order_of_time_are_of_unknown_recording(tmp_path: Path) -> None:
    source = folder_of(tmp_path / "in")
    for number, file in enumerate(sorted(source.rglob("*.png"))):
        file.rename(file.with_name(f"{'xyz'[number % 3]}{(7 * number) % 97 * 13}.png"))
    data, text = imported(source, tmp_path / "out")
    assert "recordings unknown for 48 windows" in text
    assert "start_column" not in data.table


KILLED = """
import os, signal, sys
from mdgen.data.importing import importer

converted, real = [], importer.convert_rows

def dying(addresses):
    facts = real(addresses)
    converted.extend(facts)
    if len(converted) == 24:  # stored, but not noted yet
        os.kill(os.getpid(), signal.SIGKILL)
    return facts

importer._CHUNK, importer.convert_rows = 8, dying
importer.import_dataset(sys.argv[1], sys.argv[2])
"""


def files_of(root: Path) -> dict[str, bytes]:
    return {str(f.relative_to(root)): f.read_bytes() for f in root.rglob("*") if f.is_file()}


def test_an_import_killed_by_force_goes_on_and_ends_as_if_undisturbed(tmp_path: Path) -> None:
    source = folder_of(tmp_path / "in")
    imported(source, tmp_path / "whole")
    done = subprocess.run([sys.executable, "-c", KILLED, source, tmp_path / "killed"], check=False)
    assert done.returncode == -signal.SIGKILL
    assert not (tmp_path / "killed").exists()
    unfinished = tmp_path / ".killed.importing"
    journal = unfinished / "journal.csv"
    journal.write_text(journal.read_text()[:-9])  # a torn last line
    stack = Stack(unfinished / "images.npy")
    stack.write(3, np.zeros((32, 32), np.uint16))  # a picture that never reached the disk
    stack.close()
    _, text = imported(source, tmp_path / "killed")
    assert "went on with an import begun before: 14 of 48" in text
    assert files_of(tmp_path / "killed") == files_of(tmp_path / "whole")
    assert [f.name for f in tmp_path.iterdir() if f.name.startswith(".")] == []


def test_other_settings_do_not_go_on_with_a_killed_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = folder_of(tmp_path / "in")
    monkeypatch.setattr(importer, "name_groups", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        import_dataset(source, tmp_path / "out", ImportSettings(size=16))
    monkeypatch.undo()
    data, text = imported(source, tmp_path / "out", size=24)
    assert data.images.shape[2:] == (24, 24)
    assert "thrown away" in text


def test_several_processes_write_the_same_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = folder_of(tmp_path / "in")
    monkeypatch.setattr(importer, "_CHUNK", 16)
    one, _ = imported(source, tmp_path / "one")
    two, _ = imported(source, tmp_path / "two", workers=2)
    assert one.fingerprint() == two.fingerprint()


def test_a_plan_is_shown_and_nothing_written(tmp_path: Path) -> None:
    lines = plan_import(folder_of(tmp_path / "in", "jet"), tmp_path / "out", ImportSettings())
    text = "\n".join(lines)
    assert "2 user(s) (ID_2, ID_10), 48 windows" in text
    assert "colour map jet" in text
    assert [f.name for f in tmp_path.iterdir()] == ["in"]


def test_a_target_inside_the_source_or_taken_is_refused(tmp_path: Path) -> None:
    source = folder_of(tmp_path / "in")
    with pytest.raises(MdgenError, match="lies inside the source"):
        import_dataset(source, source / "ID_2" / "out")
    (tmp_path / "out").mkdir()
    (tmp_path / "out/precious").write_text("keep")
    with pytest.raises(MdgenError, match="already exists"):
        import_dataset(source, tmp_path / "out")


def spoil(root: Path, name: str) -> None:
    first = root / "ID_2/ID_2_w1.png"
    if name == "text":
        first.write_text("not a picture")
    elif name == "size":
        save(first.with_suffix(""), values(40, 0, 40), "gray")
    elif name == "colour":
        save(first.with_suffix(""), values(32, 0), "jet")
    elif name == "natural":
        noise = np.random.default_rng(0)
        for file in root.rglob("*.png"):
            from PIL import Image

            Image.fromarray(noise.integers(0, 256, (32, 32, 3)).astype(np.uint8)).save(file)
    elif name == "kinds":
        save(first.with_name("extra_99"), values(32, 0), "npy")


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("text", r"ID_2_w1.png: is not a PNG"),
        ("size", r"is 40x40 but others are 32x32; give a --size"),
        ("colour", r"ID_2_w1.png: is coloured but most other pictures are gray"),
        ("natural", r"no known colour map"),
        ("kinds", r"mixes 48 pictures, 1 npy files"),
    ],
)
def test_spoiled_pictures_are_refused_by_name_and_nothing_is_left(tmp_path: Path, fault: str, message: str) -> None:
    root = folder_of(tmp_path / "in")
    spoil(root, fault)
    with pytest.raises(MdgenError, match=message) as caught:
        imported(root, tmp_path / "out", size=None)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("fault", ["text", "size", "colour"])
def test_spoiled_pictures_are_left_out_and_listed_where_asked(tmp_path: Path, fault: str) -> None:
    root = folder_of(tmp_path / "in")
    spoil(root, fault)
    data, text = imported(root, tmp_path / "out", size=None, on_error="skip")
    assert len(data) == 47
    assert "skipped: 1" in text
    assert "ID_2_w1.png" in (tmp_path / "out/skipped.csv").read_text()


def test_mixed_sizes_are_brought_to_one_when_a_size_is_given(tmp_path: Path) -> None:
    root = folder_of(tmp_path / "in")
    spoil(root, "size")
    assert imported(root, tmp_path / "out", size=16)[0].images.shape[1:] == (1, 16, 16)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_arrays_with_nan_are_refused(tmp_path: Path, bad: float) -> None:
    root = folder_of(tmp_path / "in", "npy")
    np.save(root / "ID_10/ID_10_w1.npy", np.full((32, 32), bad, np.float32))
    with pytest.raises(MdgenError, match=r"ID_10_w1.npy: holds NaN"):
        imported(root, tmp_path / "out")


def test_folders_without_spectrograms_are_refused_and_one_person_is_warned_of(tmp_path: Path) -> None:
    with pytest.raises(MdgenError, match="no such folder"):
        imported(tmp_path / "missing", tmp_path / "out")
    (tmp_path / "empty").mkdir()
    with pytest.raises(MdgenError, match="holds no spectrograms"):
        imported(tmp_path / "empty", tmp_path / "out")
    with pytest.raises(MdgenError, match=r"no spectrogram's path fits --only '\*.tif'"):
        imported(folder_of(tmp_path / "png"), tmp_path / "out", only="*.tif")
    _, text = imported(folder_of(tmp_path / "one", users=("solo",)), tmp_path / "out")
    assert "warning: only one user, 'solo'" in text


def test_how_many_windows_a_cut_recording_costs_is_told(tmp_path: Path) -> None:
    root = tmp_path / "in"
    for user in ("a", "b"):
        (root / user).mkdir(parents=True)
        for number in range(20):
            save(root / user / f"{number:02}", values(32, number + 100 * (user == "b")), "gray")
    data, text = imported(root, tmp_path / "out", size=None)
    unused = int((data.table["split"] == "unused").sum())
    assert unused > 0
    assert f"2 recording(s) cut between roles, parts are named by role; {unused} windows between the parts" in text


def test_a_full_disk_is_told_with_the_folder_and_the_import_goes_on(tmp_path: Path, monkeypatch) -> None:
    source, write = folder_of(tmp_path / "in"), Stack.write

    def filling(stack: Stack, row: int, picture: np.ndarray) -> None:
        if row == 40:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(stack, row, picture)

    with monkeypatch.context() as patch:
        patch.setattr(Stack, "write", filling)
        with pytest.raises(MachineError, match=r"out: writing failed \(No space left on device\); free disk space"):
            imported(source, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert imported(source, tmp_path / "out")[0].users == ["ID_2", "ID_10"]


def test_natural_colours_are_kept_where_told_also_of_gray_pictures(tmp_path: Path) -> None:
    from PIL import Image

    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (16, 16, 16, 3)).astype(np.uint8)
    pixels[3] = pixels[3, ..., :1]
    for i, picture in enumerate(pixels):
        (tmp_path / "in" / "ab"[i // 8]).mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(tmp_path / "in" / "ab"[i // 8] / f"{i}.png")
    data, _ = imported(
        tmp_path / "in", tmp_path / "out", size=16, colormap="rgb", fractions={"train": 0.5, "test": 0.5}
    )
    assert np.abs((data.images + 1) * 127.5 - pixels.transpose(0, 3, 1, 2)).max() < 1e-3


@pytest.mark.parametrize(("cells", "bits"), [(61, 8), (100, 16)])
def test_levels_of_a_map_are_stored_as_they_are_and_means_with_their_fractions(
    tmp_path: Path, cells: int, bits: int
) -> None:
    pictures = [draw(enlarge(field(cells, cells, number))) for number in range(6)]
    for number, picture in enumerate(pictures):
        file = tmp_path / "in" / f"ID_{number % 2}" / f"w{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(file)
    import_dataset(tmp_path / "in", tmp_path / "out", ImportSettings(size=64, fractions={"train": 1.0}))
    with Image.open(next((tmp_path / "out/images").iterdir())) as stored:
        assert stored.mode == "L" if bits == 8 else stored.mode.startswith("I")
    rendering = find_rendering(pictures)
    assert rendering is not None
    shown = undo_rendering(pictures[0], rendering).resized(64, 64)
    assert np.abs(read_dataset(tmp_path / "out").images[0, 0] / 2 + 0.5 - shown).max() < 1 / 65535

"""Public sets, read from stand-ins in torchvision's own file formats."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from PIL import Image

from mdgen.data.public import import_public
from mdgen.errors import MdgenError


@pytest.fixture
def mnist(tmp_path):
    """Sixty digits to train on and twenty to test, as the files MNIST comes in."""
    folder = tmp_path / "MNIST" / "raw"
    folder.mkdir(parents=True)
    for part, count in (("train", 60), ("t10k", 20)):
        labels = torch.arange(count, dtype=torch.uint8) % 10
        pictures = torch.zeros(count, 28, 28, dtype=torch.uint8)
        pictures[torch.arange(count), labels.long() + 5] = 255
        for name, kind, values in (("images-idx3", 3, pictures), ("labels-idx1", 1, labels)):
            head = bytes([0, 0, 8, kind]) + b"".join(int(n).to_bytes(4, "big") for n in values.shape)
            (folder / f"{part}-{name}-ubyte").write_bytes(head + values.numpy().tobytes())
    return tmp_path


def test_digits_are_framed_and_their_own_test_part_stays_the_test(mnist) -> None:
    data = import_public("mnist", mnist)
    assert data.images.shape == (80, 1, 32, 32)
    assert (data.images[:, :, :2] == -1).all()
    for image, user in zip(data.images[:, 0], data.table["user"], strict=True):
        row = int(user[0]) + 5 + 2
        assert (image[row, 2:30] == 1).all()
        assert image.max(axis=1).tolist().count(1.0) == 1
    assert len(data.users) == 10
    assert data.table["split"].value_counts().to_dict() == {"train": 48, "test": 20, "judge": 9, "val": 3}
    again = import_public("mnist", mnist)
    assert again.table.equals(data.table)


def test_a_limit_keeps_the_classes_even(mnist) -> None:
    data = import_public("mnist", mnist, limit=20)
    assert len(data) == 40
    assert set(data.table["user"].value_counts()) == {4}


def test_a_set_that_is_not_there_says_how_to_get_it(tmp_path) -> None:
    with pytest.raises(MdgenError, match="--download"):
        import_public("cifar10", tmp_path)
    with pytest.raises(MdgenError, match="cifar100, mnist"):
        import_public("imagenet", tmp_path)


def test_colour_pictures_keep_their_channels(tmp_path, monkeypatch) -> None:
    from torchvision import datasets

    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    red = np.zeros((10, 3072), np.uint8)
    red[:, :1024] = 255
    for name, _ in datasets.CIFAR10.train_list + datasets.CIFAR10.test_list:
        (folder / name).write_bytes(pickle.dumps({"data": red, "labels": list(range(10))}))
    names = [f"class {i}" for i in range(10)]
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": names}))
    for check in ("_check_integrity", "_load_meta"):
        monkeypatch.setattr(datasets.CIFAR10, check, lambda self: True)
    monkeypatch.setattr(datasets.CIFAR10, "classes", names, raising=False)
    data = import_public("cifar10", tmp_path)
    assert data.images.shape == (60, 3, 32, 32)
    assert (data.images[:, 0] == 1).all()
    assert (data.images[:, 1:] == -1).all()


def test_a_set_unpacked_into_pictures_is_read_from_its_folders(tmp_path) -> None:
    for part, count in (("train", 10), ("test", 2)):
        for level, name in enumerate(("cat", "dog")):
            folder = tmp_path / part / name
            folder.mkdir(parents=True)
            for i in range(count):
                Image.new("RGB", (32, 32), (255 * level, 0, 0)).save(folder / f"{i}.png")
    data = import_public("cifar10", tmp_path)
    assert data.images.shape == (24, 3, 32, 32)
    assert data.table["split"].value_counts().to_dict() == {"train": 16, "test": 4, "judge": 3, "val": 1}
    dogs = (data.table["user"] == "dog").to_numpy()
    assert (data.images[dogs, 0] == 1).all()
    assert (data.images[~dogs, 0] == -1).all()
    broken = tmp_path / "test" / "dog" / "1.png"
    broken.write_bytes(broken.read_bytes()[:40])
    with pytest.raises(MdgenError, match=r"1\.png: cannot be read"):
        import_public("cifar10", tmp_path)


class Bomb:
    """Unpickled, it writes a file."""

    def __init__(self, file: str) -> None:
        self.file = file

    def __reduce__(self):
        return open, (self.file, "w")


def test_a_pickle_that_is_not_the_published_one_is_never_opened(tmp_path) -> None:
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    for name in [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch", "batches.meta"]:
        (folder / name).write_bytes(pickle.dumps(Bomb(str(tmp_path / "exploded"))))
    with pytest.raises(MdgenError, match="cifar10 is not there"):
        import_public("cifar10", tmp_path)
    assert not (tmp_path / "exploded").exists()

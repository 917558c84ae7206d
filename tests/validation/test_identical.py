"""The very same pictures: found among the images of a user, and among those that nobody else can have."""

import numpy as np

from validation.measures.identical import picture_hashes, repeated, unmistakable


def pictures(count: int) -> np.ndarray:
    return np.random.default_rng(count).uniform(-1, 1, (count, 1, 8, 8)).astype(np.float32)


def test_a_picture_is_known_through_storage_in_8_bit_and_by_nothing_less():
    images = pictures(4)
    stored = np.round((images + 1) * 127.5).astype(np.uint8).astype(np.float32) / 127.5 - 1
    np.testing.assert_array_equal(picture_hashes(images), picture_hashes(stored))
    assert not np.isin(picture_hashes(np.roll(images, 1, axis=-1)), picture_hashes(images)).any()


def test_repeats_are_those_of_the_same_user():
    images = pictures(6)
    images[1] = images[5] = images[0]
    images[4] = images[2]
    assert repeated(images, list("aaabba")).tolist() == [True, True, False, False, False, True]


def test_empty_pictures_and_those_known_otherwise_are_nobodys_own():
    images = pictures(5)
    images[1] = -1
    own = unmistakable(images, images[3:])
    np.testing.assert_array_equal(np.sort(own), np.sort(picture_hashes(images[[0, 2]])))
    assert len(unmistakable(images[:0], images)) == 0

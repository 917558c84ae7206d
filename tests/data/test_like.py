"""What a real set looks like is found again from its pictures alone."""

from dataclasses import replace

import numpy as np
import pytest

from mdgen.data.simulator import Conditions, RadarSettings, make_scene, simulate
from mdgen.data.simulator.like import fit_likeness
from mdgen.errors import MdgenError

#: A radar and a place that the defaults are far from.
RADAR = RadarSettings(velocity_min_mps=-2.5, velocity_max_mps=6.5, duration_s=1.7, prf_hz=3000)
PLACE = Conditions(snr_db=14.0, clutter_db=6.0, legs_db=-4.0)


@pytest.fixture(scope="module")
def elsewhere():
    scene = make_scene(radar=RADAR, conditions=PLACE)
    return simulate(6, 2, 3, 32, 77, scene=scene, fractions={"train": 1.0})


@pytest.fixture(scope="module")
def fit(elsewhere):
    return fit_likeness(elsewhere)


def without(data, *columns):
    return replace(data, table=data.table.drop(columns=list(columns)))


def test_the_fit_brings_levels_nearer_and_finds_the_noise(fit):
    before, after = fit.distance_db
    assert after < 0.6 * before
    assert fit.conditions.snr_db == pytest.approx(14.0, abs=4)


def test_given_axes_are_taken_and_kept(fit):
    radar = fit.radar
    assert (radar.velocity_min_mps, radar.velocity_max_mps, radar.duration_s) == (-2.5, 6.5, 1.7)


def test_axes_that_are_not_given_are_estimated(elsewhere):
    blind = without(elsewhere, "velocity_min_mps", "velocity_max_mps", "duration_s")
    radar = fit_likeness(blind).radar
    assert radar.velocity_max_mps == pytest.approx(6.5, rel=0.25)
    assert radar.duration_s == pytest.approx(1.7, rel=0.25)


def test_simulated_walkers_then_have_the_floor_of_the_real_ones(elsewhere, fit):
    scene = make_scene(radar=fit.radar, conditions=fit.conditions)
    twins = simulate(6, 2, 3, fit.size, 5, scene=scene, fractions={"train": 1.0})
    usual = simulate(6, 2, 3, 32, 5, fractions={"train": 1.0})
    floors = [np.median(data.images[:, 0, :4]) for data in (elsewhere, twins, usual)]
    assert abs(floors[1] - floors[0]) < 0.1 < abs(floors[2] - floors[0])


def test_pictures_that_cannot_be_imitated_are_refused(elsewhere):
    with pytest.raises(MdgenError, match="square"):
        fit_likeness(elsewhere.with_images(elsewhere.images[:, :, :, :20]))
    with pytest.raises(MdgenError, match="few"):
        fit_likeness(elsewhere.select(np.arange(3)))

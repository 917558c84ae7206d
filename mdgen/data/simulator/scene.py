"""What is recorded, and by which radars: activities, aspect angles, carriers, treadmill, company."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from scipy.constants import speed_of_light

from mdgen.data.simulator.activities import ACTIVITIES, FASTEST_MPS, ON_THE_SPOT
from mdgen.data.simulator.people import Session
from mdgen.data.simulator.radar import RadarSettings
from mdgen.errors import MdgenError

#: Bands people use, GHz -> carrier in Hz.
BANDS_GHZ = {24: 24.125e9, 60: 60.5e9, 77: 77.0e9}
#: Where none is named.
DEFAULT_BANDS_GHZ = (24,)
#: The greatest aspect angle from which a walker is surely seen to approach throughout.
_APPROACHING_DEG = 60


@dataclass(frozen=True)
class Sensor:
    """One radar: 0 degrees sees people come towards it, 180 go away, 90 and 270 pass by."""

    aspect_deg: int = 0
    radar: RadarSettings = field(default_factory=RadarSettings)

    @property
    def view(self) -> str:
        """The aspect in three digits: "000", "090"."""
        return f"{self.aspect_deg % 360:03d}"

    @property
    def device(self) -> str:
        """The carrier in GHz: "24 GHz"."""
        return f"{self.radar.carrier_hz / 1e9:.0f} GHz"


@dataclass(frozen=True)
class Conditions:
    """How sessions differ from `people.sample_session`: fitted to a real set by `like.fit_likeness`.

    snr_db: middle of the sessions' signal-to-noise ratios; None leaves them. snr_spread: gain of their spread.
    The others are added in dB to every session.
    """

    snr_db: float | None = None
    snr_spread: float = 1.0
    clutter_db: float = 0.0
    torso_db: float = 0.0
    arms_db: float = 0.0
    legs_db: float = 0.0

    def apply(self, session: Session) -> Session:
        """The session under these conditions."""
        snr_db = session.snr_db
        if self.snr_db is not None:
            snr_db = self.snr_db + self.snr_spread * (session.snr_db - USUAL_SNR_DB)
        return replace(
            session,
            snr_db=snr_db,
            clutter_db=session.clutter_db + self.clutter_db,
            torso_db=session.torso_db + self.torso_db,
            arms_db=session.arms_db + self.arms_db,
            legs_db=session.legs_db + self.legs_db,
        )


#: Middle of the ratios that `people.sample_session` draws.
USUAL_SNR_DB = 24.5


@dataclass(frozen=True)
class Scene:
    """Every window of every activity is seen by all `sensors` at the same time.

    treadmill: who walks or runs stays in front of the radar. companion: a stranger walks behind.
    """

    activities: tuple[str, ...] = ("walk",)
    sensors: tuple[Sensor, ...] = (Sensor(),)
    treadmill: bool = False
    companion: bool = False
    conditions: Conditions = field(default_factory=Conditions)

    def __post_init__(self) -> None:
        for activity in self.activities:
            if activity not in ACTIVITIES:
                raise MdgenError(f"activities: unknown {activity!r}; use {', '.join(ACTIVITIES)}")
        if len(set(self.activities)) < len(self.activities) or len(set(self.sensors)) < len(self.sensors):
            raise MdgenError("activities, views or bands: one is named twice; name each once")
        if not self.activities or not self.sensors:
            raise MdgenError("activities, views or bands: none is named; name at least one of each")


def whole_numbers(text: str, name: str) -> list[int]:
    """`0,45,90` as numbers; raises `MdgenError` that calls them `name`."""
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise MdgenError(f"{name} {text!r}: need whole numbers with commas, such as 0,90") from None


def make_scene(
    activities: Sequence[str] = ("walk",),
    views_deg: Sequence[int] = (0,),
    bands_ghz: Sequence[int] = DEFAULT_BANDS_GHZ,
    *,
    treadmill: bool = False,
    companion: bool = False,
    radar: RadarSettings | None = None,
    conditions: Conditions = Conditions(),
) -> Scene:
    """A scene with one sensor for each view and band, all with one velocity axis that holds everything there is to see.

    radar: settings to take instead of the default ones; its axis and carrier are then left alone. Raises `MdgenError`
    for bands beside it, and for activities, views and bands that there are not.
    """
    unknown = [band for band in bands_ghz if band not in BANDS_GHZ]
    if unknown:
        raise MdgenError(f"bands: no band at {unknown[0]} GHz; use {', '.join(map(str, BANDS_GHZ))}")
    if radar is not None and tuple(bands_ghz) != DEFAULT_BANDS_GHZ:
        raise MdgenError("bands: a radar that is given or fitted (--like) has a carrier of its own; leave bands out")
    wrong = [view for view in views_deg if not 0 <= view < 360]
    if wrong:
        raise MdgenError(f"views: {wrong[0]} degrees is no direction; use 0 (towards the radar) to 359")
    Scene(tuple(activities))
    settings = radar or _with_room_for(activities, views_deg, treadmill or companion)
    bands = [BANDS_GHZ[band] for band in bands_ghz] if radar is None else [radar.carrier_hz]
    sensors = [Sensor(view, _carried(settings, carrier)) for view in views_deg for carrier in bands]
    return Scene(tuple(activities), tuple(sensors), treadmill, companion, conditions)


def _with_room_for(activities: Sequence[str], views_deg: Sequence[int], both_ways: bool) -> RadarSettings:
    usual = RadarSettings()
    fastest = max(FASTEST_MPS[activity] for activity in activities)
    both_ways = both_ways or any(activity in ON_THE_SPOT for activity in activities)
    both_ways = both_ways or any(_APPROACHING_DEG < view < 360 - _APPROACHING_DEG for view in views_deg)
    lowest = -fastest if both_ways else usual.velocity_min_mps
    return replace(usual, prf_hz=1e5, velocity_max_mps=fastest, velocity_min_mps=lowest)


def _carried(radar: RadarSettings, carrier_hz: float) -> RadarSettings:
    """`radar` at another carrier, with pulses enough: a whole number of 500 Hz, a sixth above what aliases."""
    fastest = max(radar.velocity_max_mps, -radar.velocity_min_mps)
    need = 4 * fastest * carrier_hz / speed_of_light
    return replace(radar, carrier_hz=carrier_hz, prf_hz=max(2000.0, 500.0 * np.ceil(need * 7 / 6 / 500)))

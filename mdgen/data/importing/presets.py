"""How public sets name their files, as data. A preset is found by itself where every file name fits it.

Patterns are searched in the path below the source, `/` between folders, `::` before an array inside a file. Groups:
`user`, `session`, `recording`, `number` (place in the recording), and any further label (`activity`, `view`, ...).
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Preset:
    """pattern: what every path fits. example: one that does. note: what the names say and do not say.

    session_length, recording_length: blocks of consecutive numbers, where the set is known to be recorded so.
    raw: the files are radar samples, for `--raw`.
    """

    pattern: str
    example: str
    note: str
    session_length: int | None = None
    recording_length: int | None = None
    raw: bool = False

    def fits(self, address: str) -> bool:
        return re.search(self.pattern, address) is not None


PRESETS = {
    "gait31": Preset(
        r"(?:^|/)(?:(?P<activity>[A-Za-z_]+)/)?(?P<user>ID_?\d+)/ID_?\d+_case(?P<case>\d+)_(?P<take>\d+)_Doppler(?P<number>\d+)\.\w+$",
        "Normal_line/ID_7/ID7_case1_1_Doppler103.jpg",
        "gait type, person, case, take, window number; recordings are found from the windows' overlap",
    ),
    "ci4r": Preset(
        r"(?:^|/)(?P<sensor>01|04|06)(?P<activity>\d\d)(?P<user>\d{4})_(?P<recording>\d{9,})(?:_Raw_(?P<number>\d+))?\.\w+$",
        "04050010_1574272929_Raw_0.png",
        "sensor (01 24 GHz, 04 77 GHz, 06 XeThru), activity, person, Unix time",
    ),
    "glasgow": Preset(
        r"(?:^|/)(?P<kind>\d)P(?P<user>\d{2})A(?P<activity>\d{2})R(?P<recording>\d+)\.\w+$",
        "1P36A01R01.dat",
        "activity, person, repetition; FMCW samples at 5.8 GHz: import with --raw",
        raw=True,
    ),
    "mmrgait": Preset(
        r"(?:^|/)(?P<user>\d{3})-(?P<recording>(?P<activity>[A-Z]{2})-\d{2}-(?P<view>\d{3}))\.(?:mat|MAT)(?:::|$)",
        "001-NM-01-090.MAT",
        "person, condition, sequence, view in degrees",
    ),
    "isac": Preset(
        r"(?:^|/)p(?P<user>\d+)-(?P<condition>[a-z]+-\d+-\d+)-(?P<session>[a-z]+)-(?P<activity>[a-z_]+)-(?P<number>\d+)\.\w+$",
        "p1-sss-0-1-lab-hand-18.png",
        "person, condition, place (taken as the session), gesture, number",
    ),
    "dopnet": Preset(
        r"Person_(?P<user>[A-F])[^/]*\.mat::.*?\{(?P<activity>\d+)\}.*?\{(?P<number>\d+)\}",
        "Data_Per_PersonData_Training_Person_A.mat::Data_Training.Doppler_Signals{0}{12}",
        "person in the file name; gesture and number in the cells inside; sessions unknown",
    ),
    "gestures-dti": Preset(
        r"(?:^|/)(?P<user>finger_circle|finger_double-click|forefinger-thumb_open-close|non-gesture|palm_(?:down|left|right|up))/(?P<number>\d+)\.png$",
        "palm_up/12.png",
        "the class is the gesture, not the person; 25 consecutive numbers are one take",
        session_length=100,
        recording_length=25,
    ),
}


def find_preset(addresses: list[str]) -> str | None:
    """The name of the preset that all of `addresses` (some of a set's paths) fit."""
    return next((name for name, preset in PRESETS.items() if addresses and all(map(preset.fits, addresses))), None)

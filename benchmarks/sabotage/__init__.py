"""Ways to ruin a perfect synthetic data set, each with the gates of which one must notice.

Every builder starts from honest rows (fresh real data), so nothing but the sabotage can give it away. None shares code
with the alterations that `validation` itself learns from, and many are of other kinds.
"""

from __future__ import annotations

from dataclasses import dataclass

from sabotage.copies import (
    copies,
    copies_averaged,
    copies_disguised,
    copies_reversed,
    copies_rolled_far,
    copies_spliced,
    copies_warped,
    half_copies,
    one_user_copied,
    other_recordings,
)
from sabotage.material import Builder, Material, each_user, everywhere, for_a_share, for_one_user
from sabotage.motion import (
    SCALE,
    doppler_flipped,
    faster_motion,
    feet_erased,
    first_half_twice,
    halves_exchanged,
    pendulum,
    resimulated,
    rows_moved,
    second_half_frozen,
    slower_cadence,
    time_reversed,
    walking_away,
)
from sabotage.people import (
    a_fifth_mislabelled,
    collapsed,
    identity_code,
    mixed_up,
    one_picture_in_three,
    one_user_mislabelled,
    one_user_missing,
    session_planted,
    two_users_swapped,
)
from sabotage.picture import (
    adversarial,
    barred,
    blurred,
    brighter,
    coarse,
    despeckled,
    floor_shifted,
    jpeg,
    sixteen_levels,
    watermarked,
)
from validation.controls import IDENTITY, matched_noise, shifted, shuffled_columns, shuffled_labels, user_means

__all__ = ["DOMAINS", "SABOTAGES", "Material", "Sabotage"]

WALKERS, GAIT, GESTURES = "walkers", "gait", "gestures"
DOMAINS, WALKING = (WALKERS, GAIT, GESTURES), (WALKERS, GAIT)


@dataclass(frozen=True)
class Sabotage:
    """gates: of which one must fail. domains: where it is a sabotage at all."""

    name: str
    gates: tuple[str, ...]
    build: Builder
    domains: tuple[str, ...] = DOMAINS


MOTION = ("kinematics", "alterations")
PICTURE = ("texture", "alterations")
LEVEL = ("shortcuts", "fidelity", "alterations")
SABOTAGES = (
    Sabotage("copies", ("memorisation",), copies),
    Sabotage("copies, shifted", ("memorisation",), lambda m: shifted(m.train, m.rng)),
    Sabotage("copies, shifted, other gain, noise", ("memorisation",), copies_disguised),
    Sabotage("copies, rolled by up to half", ("memorisation",), copies_rolled_far),
    Sabotage("copies, slightly stretched", ("memorisation",), copies_warped),
    Sabotage("copies, time reversed", ("memorisation", *MOTION), copies_reversed),
    Sabotage("copies, averaged in pairs", ("memorisation", *PICTURE), copies_averaged),
    Sabotage("copies, spliced in pairs", ("memorisation", *MOTION), copies_spliced),
    Sabotage("half copies, half good", ("memorisation",), half_copies),
    Sabotage("one user copied", ("memorisation",), one_user_copied),
    Sabotage("recordings of other roles, verbatim", ("memorisation",), other_recordings),
    Sabotage("labels shuffled", IDENTITY, lambda m: shuffled_labels(m.honest, m.rng)),
    Sabotage("a fifth of the labels shuffled", IDENTITY, a_fifth_mislabelled),
    Sabotage("one user is anybody", IDENTITY, one_user_mislabelled),
    Sabotage("two users swapped", IDENTITY, two_users_swapped),
    Sabotage("one user missing", IDENTITY, one_user_missing),
    Sabotage("one user collapsed to one picture", ("diversity",), for_one_user(lambda x, m: x[:1].repeat(len(x), 0))),
    Sabotage("one user collapsed to three, jittered", ("diversity",), for_one_user(lambda x, m: collapsed(x, m, 3))),
    Sabotage("all users collapsed to five, jittered", ("diversity",), each_user(lambda x, m: collapsed(x, m, 5))),
    Sabotage("all users collapsed to their mean", ("diversity", "texture"), lambda m: user_means(m.honest)),
    Sabotage("a third is one picture", ("diversity",), each_user(one_picture_in_three)),
    Sabotage("averaged in pairs", ("diversity", *PICTURE), each_user(mixed_up)),
    Sabotage("time reversed", MOTION, everywhere(time_reversed)),
    Sabotage("time reversed for one user", MOTION, for_one_user(time_reversed)),
    Sabotage("time reversed for half", MOTION, for_a_share(time_reversed, 0.5)),
    Sabotage("Doppler flipped", (*MOTION, *IDENTITY), everywhere(doppler_flipped)),
    Sabotage("Doppler flipped for one user", (*MOTION, *IDENTITY), for_one_user(doppler_flipped)),
    Sabotage("walking away", (*MOTION, *IDENTITY), everywhere(walking_away)),
    Sabotage("cadence stretched 15 %", MOTION, everywhere(slower_cadence), WALKING),
    Sabotage("cadence stretched 15 % for one user", MOTION, for_one_user(slower_cadence), WALKING),
    Sabotage("speed scaled 15 %", MOTION, everywhere(faster_motion), WALKING),
    Sabotage("speed scaled 15 % for one user", MOTION, for_one_user(faster_motion), WALKING),
    Sabotage("simulated with 15 % longer strides in time", MOTION, resimulated(1.0, SCALE), (WALKERS,)),
    Sabotage("simulated 15 % faster at the same cadence", MOTION, resimulated(SCALE, 1.0), (WALKERS,)),
    Sabotage("three rows up", (*MOTION, "fidelity"), everywhere(rows_moved)),
    Sabotage("foot traces erased", (*MOTION, "fidelity"), everywhere(feet_erased), WALKING),
    Sabotage("second half frozen", (*MOTION, "texture"), everywhere(second_half_frozen)),
    Sabotage("first half twice", MOTION, everywhere(first_half_twice), WALKING),
    Sabotage("halves exchanged", MOTION, everywhere(halves_exchanged)),
    Sabotage("columns shuffled", (*MOTION, "texture"), lambda m: shuffled_columns(m.honest, m.rng)),
    Sabotage("a pendulum", (*MOTION, *IDENTITY, "fidelity"), everywhere(pendulum)),
    Sabotage("a fifth are pendulums", (*MOTION, *IDENTITY, "fidelity"), for_a_share(pendulum, 0.2)),
    Sabotage("matched noise", ("user_accuracy", "texture", "fidelity"), lambda m: matched_noise(m.honest, m.rng)),
    Sabotage("blurred", PICTURE, everywhere(blurred)),
    Sabotage("despeckled", PICTURE, everywhere(despeckled)),
    Sabotage("half the resolution", PICTURE, everywhere(coarse)),
    Sabotage("16 levels", PICTURE, everywhere(sixteen_levels)),
    Sabotage("JPEG artefacts", PICTURE, everywhere(jpeg)),
    Sabotage("seams every fourth row", PICTURE, everywhere(barred)),
    Sabotage("watermark in a corner", (*LEVEL, "texture"), everywhere(watermarked)),
    Sabotage("noise floor shifted", LEVEL, everywhere(floor_shifted)),
    Sabotage("brighter, less contrast", LEVEL, everywhere(brighter)),
    Sabotage("a training session's level planted", (*LEVEL, "diversity"), session_planted),
    Sabotage("the user's number in a corner", LEVEL, identity_code),
    Sabotage(
        "other users, adversarial", ("conditioning", "verification", "tstr", "alterations", "texture"),
        everywhere(adversarial),
    ),
)  # fmt: skip

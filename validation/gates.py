"""From measurements to decisions. Pure functions: each takes numbers and settings and returns one `Gate`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from validation.accuracy import Recognition
from validation.results import ADVISORY, FAIL, INCONCLUSIVE, PASS, UNAVAILABLE, Gate
from validation.settings import ValidationSettings
from validation.texture import TextureRatio
from validation.verification import VerificationResult

#: A verification embedding that is wrong about real people this often cannot judge synthetic ones.
USELESS_EER = 0.40
#: Synthetic data recognised this much better than real data are prototypes, or copies.
SUSPICIOUS_EXCESS = 0.05


def user_accuracy_gate(
    synthetic: Recognition,
    real: Recognition,
    train: Recognition,
    settings: ValidationSettings,
    advisory: str = "",
    unjudged: Sequence[str] = (),
) -> Gate:
    """Recognised as often as the reference demands, and nearly as often as real data are, by judges that know neither.

    Pass: lower Wilson bound >= threshold, accuracy >= share x ceiling, and no user clearly failing. Fail: the upper
    bound is below the threshold or the share is missed, or a user fails by itself. Where even real data stay below the
    threshold only the share can fail it, and it cannot pass. Judges that saw the generator's data flatter it, so then
    a failure stands but nothing better than "advisory" is given.
    """
    ceiling, value = real.macro, synthetic.macro
    low, high = synthetic.interval
    threshold, ratio = settings.user_accuracy, value / ceiling if ceiling > 0 else float("inf")
    failing = failing_users(synthetic, real, train, settings)
    notes = [f"{ratio:.0%} of what real data reach"]
    if ceiling < 2 / max(2, synthetic.confusion.shape[1]):
        status = INCONCLUSIVE
        notes.append("the judges hardly know real users apart, so they decide nothing")
    elif ratio < settings.ceiling_share:
        status = FAIL
        notes.append(f"below the {settings.ceiling_share:.0%} required")
    elif ceiling < threshold:
        status = INCONCLUSIVE
        notes.append(f"real data themselves stay below {threshold:.0%}, so only this ratio decides, and it holds")
    else:
        status = FAIL if high < threshold else PASS if low >= threshold else INCONCLUSIVE
        if status == INCONCLUSIVE:
            notes.append("the interval holds the threshold: generate more images per user")
    if failing:
        status = FAIL
        notes.append("users that fail: " + ", ".join(failing))
    if value > ceiling + SUSPICIOUS_EXCESS:
        notes.append("better recognised than real data: look for prototypes and copies")
    if unjudged:
        status = FAIL if status == FAIL else INCONCLUSIVE
        notes.append("users without real data to judge by: " + ", ".join(unjudged))
    if advisory:
        status = FAIL if status == FAIL else ADVISORY
        notes.append(advisory)
    return Gate("user_accuracy", status, value, low, high, threshold, ceiling, synthetic.n, "; ".join(notes))


def failing_users(
    synthetic: Recognition, real: Recognition, train: Recognition, settings: ValidationSettings
) -> list[str]:
    """Users whose upper bound is below the threshold and below what real data of theirs lead one to expect.

    Expected is the share of the lower bound on held-out data or on the generator's own, whichever is less: recordings
    of one person differ, and a generator cannot make its user more recognisable than its training data are.
    """
    ceiling = np.minimum(real.per_user["ci_low"], train.per_user["ci_low"])
    high = synthetic.per_user["ci_high"]
    failed = high < np.minimum(settings.user_accuracy, settings.ceiling_share * ceiling)
    return [str(user) for user in high.index[failed]]


def verification_gate(result: VerificationResult, settings: ValidationSettings, advisory: str = "") -> Gate:
    """Synthetic probes err at most `eer_margin` more than real ones against the same enrolment.

    Fail only where the interval of the rise (users resampled) lies above the margin; in between, inconclusive.
    """
    threshold = result.eer_real + settings.eer_margin
    rise_low, rise_high = result.rise_interval
    notes = [f"rises by {result.rise:+.3f} (95 %: {rise_low:+.3f} to {rise_high:+.3f}) over real probes"]
    if result.eer_real > USELESS_EER:
        status = INCONCLUSIVE
        notes.append("the embedding does not verify real people, so it decides nothing")
    elif result.rise <= settings.eer_margin:
        status = PASS
    else:
        status = FAIL if rise_low > settings.eer_margin else INCONCLUSIVE
    status, notes = (ADVISORY, [*notes, advisory]) if advisory else (status, notes)
    low, high = result.eer_synthetic_interval
    count = result.real_synthetic.scores.shape[1]
    notes += result.notes
    return Gate(
        "verification", status, result.eer_synthetic, low, high, threshold, result.eer_real, count, "; ".join(notes)
    )


def texture_gate(
    ratios: Sequence[TextureRatio], reference: Sequence[TextureRatio], n: int, settings: ValidationSettings
) -> Gate:
    """Fine detail along time and along Doppler within the allowed range; the value is that of the worse axis.

    reference: the same ratio of the generator's real data to held-out real data.
    """
    worst = int(np.argmax([abs(np.log(max(r.value, 1e-6))) for r in ratios]))
    inside = all(settings.texture_low <= r.value <= settings.texture_high for r in ratios)
    described = ", ".join(f"{r.value:.2f} along {r.axis}" for r in ratios)
    allowed = f"allowed {settings.texture_low:.2f} to {settings.texture_high:.2f}"
    notes = [f"energy of fine detail over real: {described} ({allowed})"]
    if not inside:
        notes.append("too smooth" if ratios[worst].value < 1 else "too rough")
    value = ratios[worst]
    threshold = settings.texture_low if value.value < 1 else settings.texture_high
    ceiling = reference[worst].value if reference else None
    status = PASS if inside else FAIL
    return Gate("texture", status, value.value, value.ci_low, value.ci_high, threshold, ceiling, n, "; ".join(notes))


def memorisation_gate(
    share: float, interval: tuple[float, float], n: int, limit: float, settings: ValidationSettings
) -> Gate:
    """Share of near copies of training images against the share expected of unseen real data; advisory for now."""
    expected = 1 - settings.near_copy_quantile
    threshold = expected + settings.near_copy_excess
    note = f"near copy: correlation above {limit:.3f}, which {expected:.0%} of held-out real images exceed"
    if interval[0] > threshold:
        note += "; more than chance: look at the closest pairs, train for fewer steps or on more recordings"
    return Gate("memorisation", ADVISORY, share, *interval, threshold, expected, n, note)


def fid_gate(value: float, real: float, n: int, settings: ValidationSettings) -> Gate:
    """Inception FID below its threshold; undecided with few images or where real data themselves do not get there."""
    notes = [f"real against real at the same N: {real:.1f}"]
    status = PASS if value < settings.fid else FAIL
    if n < settings.fid_min_images:
        status = INCONCLUSIVE
        notes.append(f"fewer than {settings.fid_min_images} images: not comparable with any published FID")
    if real >= settings.fid:
        status = INCONCLUSIVE
        notes.append("real data themselves miss the threshold at this N")
    return Gate("fid", status, value, None, None, settings.fid, real, n, "; ".join(notes))


def inception_score_gate(value: float, real: float, n: int, settings: ValidationSettings) -> Gate:
    """Inception score above its threshold; undecided where real data themselves stay below it."""
    notes = [f"real data: {real:.2f}; ImageNet classes know nothing of spectrograms, so take it as a curiosity"]
    status = PASS if value > settings.inception_score else INCONCLUSIVE if real <= settings.inception_score else FAIL
    return Gate("inception_score", status, value, None, None, settings.inception_score, real, n, "; ".join(notes))


def unavailable(name: str, reason: str, threshold: float | None = None) -> Gate:
    """A gate that could not be measured, and why."""
    return Gate(name, UNAVAILABLE, threshold=threshold, note=reason)

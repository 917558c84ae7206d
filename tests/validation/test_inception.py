"""Inception metrics: gates that know when they mean nothing, and a head that is only a matrix."""

import numpy as np
import pytest
import torch

from validation.context import Context
from validation.networks.inception import (
    InceptionEncoder,
    InceptionResult,
    assess_inception,
    class_weights,
    fid_gate,
    inception_score_gate,
)
from validation.results import ADVISORY, DECISIVE, FAIL, PASS, UNAVAILABLE, Gate, Summary
from validation.rules import shipped_rules
from validation.sets import prepare_sets
from validation.settings import ValidationSettings

RULES = shipped_rules()


def found(fid=30.0, fid_real=10.0, score=3.0, score_real=3.0, n=4096) -> InceptionResult:
    return InceptionResult(fid, fid_real, score, score_real, n)


@pytest.mark.parametrize(
    ("result", "status"),
    [
        (found(), PASS),
        (found(fid=60), FAIL),
        (found(n=500), ADVISORY),
        (found(fid=60, n=500), ADVISORY),
        (found(fid=60, fid_real=55), ADVISORY),
    ],
)
def test_the_fid_decides_only_with_enough_images_and_a_real_ceiling_below_it(result, status):
    gate = fid_gate(result, RULES["fid"])
    assert gate.status == status
    assert gate.ceiling == result.fid_real


@pytest.mark.parametrize(
    ("result", "status"),
    [(found(), PASS), (found(score=1.5), FAIL), (found(score=1.5, score_real=1.8), ADVISORY)],
)
def test_the_inception_score_fails_nobody_whom_real_data_do_not_pass(result, status):
    assert inception_score_gate(result, RULES["inception_score"]).status == status


def test_inceptions_weights_keep_no_small_set_from_passing():
    few = found(fid=60, fid_real=55, score=1.5, score_real=1.8, n=500)
    gates = [fid_gate(few, RULES["fid"]), inception_score_gate(few, RULES["inception_score"])]
    assert Summary([Gate(name, PASS) for name in DECISIVE] + gates).verdict == PASS


def test_without_weights_both_gates_are_unavailable_and_say_what_to_do(data, tmp_path):
    settings = ValidationSettings(inception_weights=tmp_path / "none.pth")
    gates = assess_inception(Context(prepare_sets(data, data.role("train")), settings)).gates
    assert [(g.name, g.status) for g in gates] == [("fid", UNAVAILABLE), ("inception_score", UNAVAILABLE)]
    assert all("put weights-inception" in g.note for g in gates)


@pytest.fixture
def random_weights(tmp_path):
    """A file of the FID network's shape with random numbers."""
    module = pytest.importorskip("torch_fidelity.feature_extractor_inceptionv3")
    network = module.FeatureExtractorInceptionV3.__new__(module.FeatureExtractorInceptionV3)

    def stop(*_, **__):
        raise KeyError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "load_state_dict_from_url", stop)
        with pytest.raises(KeyError):
            network.__init__("random", ["2048"])
    torch.save(network.state_dict(), tmp_path / "random.pth")
    return tmp_path / "random.pth"


@pytest.mark.slow
def test_the_whole_block_runs_and_logits_follow_from_pooled_features(data, random_weights):
    some = data.select(np.arange(0, len(data), 3))
    encoder = InceptionEncoder(random_weights, "cpu")
    pool = encoder(some.images[:4])
    encoder.network.features_list = ["logits_unbiased"]
    logits = encoder(some.images[:4])
    np.testing.assert_allclose(pool @ class_weights(random_weights).T, logits, rtol=1e-3, atol=1e-4)
    settings = ValidationSettings(inception_weights=random_weights, max_inception_images=4, device="cpu")
    finding = assess_inception(Context(prepare_sets(some, some.role("train")), settings))
    assert [g.n for g in finding.gates] == [4, 4]
    assert finding.gates[0].status == ADVISORY
    assert len(finding.metrics) == 4

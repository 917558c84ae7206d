"""What `auto` computes in: half precision where the processor is built for it, float32 elsewhere."""

from types import SimpleNamespace

import pytest
import torch

from mdgen.device import PATIENCE, autocast, computing_on, lacks_half_precision, resolve_precision

CPU = torch.device("cpu")


def test_processes_wait_for_one_that_works_for_all_however_long_it_takes(monkeypatch) -> None:
    asked = {}

    def settled(**options: object) -> SimpleNamespace:
        asked.update(options)
        return SimpleNamespace(device=CPU)

    monkeypatch.setattr("accelerate.PartialState", settled)
    computing_on("cpu")
    assert asked == {"cpu": True, "timeout": PATIENCE}


@pytest.mark.parametrize(("units", "dtype"), [(True, torch.bfloat16), (False, torch.float32)])
def test_auto_is_bfloat16_on_processors_with_units_for_it(monkeypatch, units: bool, dtype: torch.dtype) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: units)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    assert resolve_precision("auto", CPU) == dtype
    assert lacks_half_precision("cpu") != units
    with autocast("auto", CPU):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == dtype


def test_a_precision_that_is_named_is_taken(monkeypatch) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    assert resolve_precision("bf16", CPU) == torch.bfloat16
    assert resolve_precision("fp32", CPU) == torch.float32

"""Quality against network evaluations for every sampler, distilled models and the 1000-step DDPM, in one run.

    python benchmarks/sampling.py --data DATA --run RUN --distilled RUN4 --out benchmarks/results

Writes sampling.csv, sampling.json and sampling.png. Speeds on a CPU are per processor second; run it with
OMP_NUM_THREADS=1, since threads that wait count as well. Guided evaluations are two of the network, batched; the column
`evaluations` counts steps of the sampler, `network_passes` what the network really does for a sample.
"""

from __future__ import annotations

import argparse
import copy
import json
import platform
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import torch
from curves import save_lines
from opinion import Opinion
from torch import nn
from torch.nn.utils import prune
from torch.utils.flop_counter import FlopCounterMode

from mdgen.config import GenerateConfig
from mdgen.data.dataset import SpectrogramSet, read_dataset
from mdgen.device import resolve_device, resolve_precision
from mdgen.diffusion.samplers import evaluations
from mdgen.generate import Maker
from mdgen.run import Run

STEPS = {"dpm++": (4, 6, 8, 12, 25, 50), "unipc": (4, 6, 8, 12, 25), "euler": (4, 8, 12, 25, 50), "heun": (3, 5, 7, 13)}
OTHERS = {"ddim": (8, 25, 50), "dpm++": (8, 12, 25), "unipc": (8, 12, 25)}
#: Of each measure: mean and margin between two real sets of the same size.
Noise = dict[str, dict[str, float]]
#: Sets of other noise that show how much of a difference is chance.
SEEDS = 6
MEASURES = ("accuracy", "eer", "kernel_distance")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--distilled", type=Path, nargs="*", default=[])
    parser.add_argument("--per-user", type=int, default=20)
    parser.add_argument("--audit-steps", type=int, default=1000)
    parser.add_argument("--only", nargs="*", help="samplers; unset: all that fit")
    parser.add_argument(
        "--variants", nargs="*", default=list(VARIANTS), help="of the network, timed after the samplers"
    )
    parser.add_argument("--judge-steps", type=int, default=500)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    options = parser.parse_args()
    device = resolve_device(options.device)
    opinion = Opinion(read_dataset(options.data), options.seed, options.judge_steps)
    base = Run(options.run).recipe().generate.model_copy(update={"per_user": options.per_user})
    flow = Run(options.run).recipe().diffusion.objective == "flow"
    table = {"ddpm": (options.audit_steps,), **(STEPS if flow else OTHERS)}
    rows = []
    for sampler, counts in table.items():
        for steps in counts if sampler == "ddpm" or not options.only or sampler in options.only else ():
            settings = base.model_copy(update={"sampler": sampler, "steps": steps})
            rows.append(row(sampler, options.run, settings, opinion, device, options.seed))
    for run in options.distilled:
        settings = Run(run).recipe().generate.model_copy(update={"per_user": options.per_user})
        rows.append(row(f"distilled ({run.name})", run, settings, opinion, device, options.seed))
    noise = opinion.noise(options.per_user * len(Run(options.run).users()))
    compared = with_comparisons(pd.DataFrame(rows), noise, device, base.precision)
    options.out.mkdir(parents=True, exist_ok=True)
    compared.to_csv(options.out / "sampling.csv", index=False)
    print(compared.to_string(index=False), flush=True)
    draw(compared, noise, options.out / "sampling.png")
    result = {
        "noise_of_real_data": noise,
        "precision": str(resolve_precision(base.precision, torch.device(device))),
        "over_seeds": {
            "dpm++ 12": over_seeds(
                options.run, base.model_copy(update={"sampler": "dpm++", "steps": 12}), opinion, device
            ),
            **{
                f"distilled {run.name}": over_seeds(
                    run, Run(run).recipe().generate.model_copy(update={"per_user": options.per_user}), opinion, device
                )
                for run in options.distilled
            },
        },
        "variants": variants(options.variants, options.run, base, opinion, device, options.seed),
        "per_user": options.per_user,
        "seed": options.seed,
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
        "threads": torch.get_num_threads(),
        "device": device,
    }
    (options.out / "sampling.json").write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


def row(name: str, run: Path, settings: GenerateConfig, opinion: Opinion, device: str, seed: int) -> dict[str, object]:
    maker = Maker.of(run, settings, seed, None, device)
    count = evaluations(maker.pipeline.scheduler, settings.steps)
    made, seconds = timed(maker)
    passes = count * (1 if settings.guidance_scale == 1 else 2)
    measures = opinion(made)
    print(f"{name} {count}: {len(made) / seconds:.2f} images/s, {measures}", flush=True)
    return {
        "sampler": name,
        "steps": settings.steps,
        "evaluations": count,
        "network_passes": passes,
        "images_per_s": len(made) / seconds,
        "gflop_per_image": flops(maker) * passes / 1e9,
        **measures,
    }


def over_seeds(run: Path, settings: GenerateConfig, opinion: Opinion, device: str) -> dict[str, dict[str, float]]:
    """Mean, lowest and highest of each measure over sets of other noise: how far two sets of one sampler differ."""
    found = []
    for seed in range(SEEDS):
        maker = Maker.of(run, settings, seed, None, device)
        rows = range(len(maker))
        found.append(opinion(SpectrogramSet(maker.images(rows), maker.table(rows))))
    return pd.DataFrame(found).agg(["mean", "min", "max"]).round(4).to_dict()


def timed(maker: Maker) -> tuple[SpectrogramSet, float]:
    """All samples of a maker, and the seconds they took after a first batch that warms up: processor seconds on a CPU,
    where others may be at work."""
    clock = time.process_time if maker.pipeline.device.type == "cpu" else time.monotonic
    rows = range(len(maker))
    if maker.settings.steps <= 50:
        maker.images(range(min(len(rows), maker.batch_size)))
    started = clock()
    images = maker.images(rows)
    seconds = clock() - started
    return SpectrogramSet(images, maker.table(rows)), seconds


def flops(maker: Maker) -> float:
    """Floating-point operations of one pass of the network for one sample."""
    x = torch.zeros(1, *maker.pipeline.config.latent_shape, device=maker.pipeline.device)
    condition = maker.pipeline.conditioning(torch.zeros(1, dtype=torch.long, device=x.device))
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        maker.pipeline.denoiser(x, torch.zeros(1, device=x.device), class_labels=condition)
    return counter.get_total_flops()


def matmul_peak(device: str, precision: str, size: int = 2048, repeats: int = 5) -> float:
    """FLOP/s of a large matrix product on this machine, in the precision that the network computes in: the best of
    some."""
    a = torch.randn(size, size, device=device, dtype=resolve_precision(precision, torch.device(device)))
    clock = time.process_time if device == "cpu" else time.monotonic
    best = 0.0
    for _ in range(repeats):
        started = clock()
        (a @ a).sum().item()
        best = max(best, 2 * size**3 / (clock() - started))
    return best


def with_comparisons(table: pd.DataFrame, noise: Noise, device: str, precision: str) -> pd.DataFrame:
    """Speed over that of the DDPM, share of the matrix-product peak, and whether quality is within the noise of real
    data of the DDPM's, or better."""
    audit = table[table["sampler"] == "ddpm"].iloc[0]
    table["speedup"] = table["images_per_s"] / audit["images_per_s"]
    peak = matmul_peak(device, precision)
    table["share_of_peak"] = table["gflop_per_image"] * 1e9 * table["images_per_s"] / peak
    for measure in MEASURES:
        worse = table[measure] - audit[measure] if measure != "accuracy" else audit[measure] - table[measure]
        table[f"{measure}_equal"] = worse <= noise[measure]["margin"]
    table["equal"] = table[[f"{m}_equal" for m in MEASURES]].all(axis=1)
    return table


def variants(
    names: list[str], run: Path, base: GenerateConfig, opinion: Opinion, device: str, seed: int
) -> list[dict[str, object]]:
    """bf16, int8, pruning and torch.compile at the run's own sampler: speed, size and quality side by side."""
    rows = []
    for name in names:
        precision, change = VARIANTS[name]
        maker = Maker.of(run, base.model_copy(update={"precision": precision}), seed, None, device)
        try:
            denoiser, size = change(maker.pipeline.denoiser)
            maker.pipeline.denoiser = denoiser
            made, seconds = timed(maker)
        except Exception as error:  # a machine without a compiler, a torch without int8
            rows.append({"variant": name, "unavailable": str(error).splitlines()[0][:200]})
            continue
        rows.append({"variant": name, "megabytes": size, "images_per_s": len(made) / seconds, **opinion(made)})
        print(rows[-1], flush=True)
    return rows


def as_it_is(network: nn.Module) -> tuple[nn.Module, float]:
    return network, 4 * sum(p.numel() for p in network.parameters()) / 1e6


def quantised(network: nn.Module) -> tuple[nn.Module, float]:
    """int8 weights of the linear layers, activations quantised as they come; convolutions have no such kernel."""
    linear = 4 * sum(p.numel() for m in network.modules() if isinstance(m, nn.Linear) for p in m.parameters()) / 1e6
    result = torch.ao.quantization.quantize_dynamic(copy.deepcopy(network).float(), {nn.Linear}, dtype=torch.qint8)
    return result, as_it_is(network)[1] - 0.75 * linear


def pruned(share: float) -> Callable[[nn.Module], tuple[nn.Module, float]]:
    """The smallest weights of every layer set to zero; size as compressed with their positions as bits."""

    def change(network: nn.Module) -> tuple[nn.Module, float]:
        network = copy.deepcopy(network)
        zeros = 0
        for layer in network.modules():
            if isinstance(layer, nn.Linear | nn.Conv2d):
                prune.l1_unstructured(layer, "weight", share)
                prune.remove(layer, "weight")
                zeros += int((layer.weight == 0).sum())
        whole = as_it_is(network)[1]
        return network, whole - 4 * zeros / 1e6 + whole / 32

    return change


def compiled(network: nn.Module) -> tuple[nn.Module, float]:
    network.compile()
    return as_it_is(network)


VARIANTS: dict[str, tuple[str, Callable[[nn.Module], tuple[nn.Module, float]]]] = {
    "fp32": ("fp32", as_it_is),
    "bf16": ("bf16", as_it_is),
    "int8 linear layers": ("fp32", quantised),
    "pruned 30 %": ("fp32", pruned(0.3)),
    "pruned 50 %": ("fp32", pruned(0.5)),
    "compiled": ("auto", compiled),
}


def draw(table: pd.DataFrame, noise: Noise, file: Path) -> None:
    """Kernel distance to held-out real data over the evaluations, with the DDPM's and the noise of real data."""
    audit = table[table["sampler"] == "ddpm"].iloc[0]
    lines = {
        str(name): (part["evaluations"].tolist(), part["kernel_distance"].tolist())
        for name, part in table.groupby("sampler", sort=False)
    }
    limit = audit["kernel_distance"] + noise["kernel_distance"]["margin"]
    labels = ("evaluations of the network (log scale)", "kernel distance to held-out real data")
    save_lines(lines, labels, file, log_x=True, level=(limit, f"{int(audit['steps'])}-step DDPM + noise of real data"))


if __name__ == "__main__":
    main()

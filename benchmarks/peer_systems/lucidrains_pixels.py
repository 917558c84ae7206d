"""Denoising-diffusion-pytorch: its classifier-free-guidance U-Net on pixels, DDIM."""

import torch
from denoising_diffusion_pytorch.classifier_free_guidance import GaussianDiffusion, Unet
from ema_pytorch import EMA

from peer_systems import HALF, Sampler, Task, anneal

BATCH, RATE, STEPS, GUIDANCE = 8, 4e-4, 25, 2.0


def train(task: Task) -> Sampler:
    torch.manual_seed(task.seed)
    channels, size = task.images.shape[1], task.images.shape[-1]
    network = Unet(dim=16, num_classes=len(task.users), channels=channels, dim_mults=(1, 2, 4, 8), cond_drop_prob=0.1)
    model = GaussianDiffusion(
        network, image_size=size, sampling_timesteps=STEPS, objective="pred_v", ddim_sampling_eta=0.0
    )
    average = EMA(model, beta=0.999, update_every=1, update_after_step=10, power=0.75)
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE, betas=(0.9, 0.99))
    for images, labels, progress in task.batches(task.clock, BATCH):
        anneal(optimizer, RATE, progress)
        with HALF:
            loss = model((images + 1) / 2, classes=labels)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        average.update()
    average.ema_model.eval()

    def sample(labels: torch.Tensor) -> torch.Tensor:
        return 2 * average.ema_model.sample(classes=labels, cond_scale=GUIDANCE) - 1

    return sample

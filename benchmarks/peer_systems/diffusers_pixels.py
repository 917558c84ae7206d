"""Diffusers: class-conditional DDPM on pixels, as `UNet2DModel` offers it, with classifier-free guidance."""

import torch
from diffusers import DDPMScheduler, DPMSolverMultistepScheduler, UNet2DModel
from diffusers.training_utils import EMAModel

from peer_systems import HALF, Sampler, Task, anneal

BATCH, RATE, DROPPED, STEPS, GUIDANCE = 8, 4e-4, 0.1, 25, 2.0


def train(task: Task) -> Sampler:
    torch.manual_seed(task.seed)
    nobody = len(task.users)
    channels, size = task.images.shape[1], task.images.shape[-1]
    model = UNet2DModel(
        sample_size=size,
        in_channels=channels,
        out_channels=channels,
        layers_per_block=1,
        block_out_channels=(16, 32, 64, 128),
        down_block_types=("DownBlock2D", "DownBlock2D", "DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D", "UpBlock2D", "UpBlock2D"),
        num_class_embeds=nobody + 1,
        attention_head_dim=32,
        norm_num_groups=16,
    )
    scheduler = DDPMScheduler(beta_schedule="squaredcos_cap_v2", prediction_type="v_prediction")
    average = EMAModel(model.parameters(), decay=0.999, use_ema_warmup=True, power=0.75)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE)
    for images, labels, progress in task.batches(task.clock, BATCH):
        anneal(optimizer, RATE, progress)
        noise = torch.randn_like(images)
        steps = torch.randint(0, scheduler.config.num_train_timesteps, labels.shape)
        told = torch.where(torch.rand(labels.shape) < DROPPED, nobody, labels)
        with HALF:
            predicted = model(scheduler.add_noise(images, noise, steps), steps, class_labels=told).sample
        loss = torch.nn.functional.mse_loss(predicted.float(), scheduler.get_velocity(images, noise, steps))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        average.step(model.parameters())
    average.copy_to(model.parameters())
    model.eval()

    @HALF
    def sample(labels: torch.Tensor) -> torch.Tensor:
        solver = DPMSolverMultistepScheduler.from_config(scheduler.config)
        solver.set_timesteps(STEPS)
        images = torch.randn(len(labels), channels, size, size)
        both = torch.cat([labels, torch.full_like(labels, nobody)])
        for step in solver.timesteps:
            told, untold = model(torch.cat([images, images]), step, class_labels=both).sample.chunk(2)
            images = solver.step(untold + GUIDANCE * (told - untold), step, images).prev_sample
        return images

    return sample

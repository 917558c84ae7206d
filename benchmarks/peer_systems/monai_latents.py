"""MONAI: AutoencoderKL, then DiffusionModelUNet on its latents, the user as one-hot context, as its tutorials train."""

import torch
from monai.inferers import LatentDiffusionInferer
from monai.losses import PatchAdversarialLoss
from monai.networks.nets import AutoencoderKL, DiffusionModelUNet, PatchDiscriminator
from monai.networks.schedulers import DDIMScheduler, DDPMScheduler
from torch.nn.functional import l1_loss, mse_loss, one_hot
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from peer_systems import HALF, Clock, Sampler, Task, anneal

BATCH, SHARE, DROPPED, NOBODY, STEPS, GUIDANCE = 16, 0.4, 0.1, -1.0, 50, 2.0
AUTOENCODER_BATCH = 8
BETAS = {"schedule": "scaled_linear_beta", "beta_start": 0.0015, "beta_end": 0.0195}


def train(task: Task) -> Sampler:
    torch.manual_seed(task.seed)
    autoencoder = train_autoencoder(task, task.clock.first(SHARE))
    users, size = len(task.users), task.images.shape[-1] // 4
    network = DiffusionModelUNet(
        spatial_dims=2, in_channels=3, out_channels=3, num_res_blocks=1, channels=(32, 64, 128), norm_num_groups=16,
        attention_levels=(False, True, True), num_head_channels=(0, 32, 32), with_conditioning=True,
        cross_attention_dim=users,
    )  # fmt: skip
    with torch.no_grad():
        scale = 1 / torch.cat([autoencoder.encode_stage_2_inputs(part) for part in task.images.split(64)]).std()
    inferer = LatentDiffusionInferer(DDPMScheduler(num_train_timesteps=1000, **BETAS), scale_factor=scale)
    average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(0.995))
    optimizer = torch.optim.Adam(network.parameters(), lr=5e-4)
    for images, labels, progress in task.batches(task.clock.rest(), BATCH):
        anneal(optimizer, 5e-4, progress)
        context = one_hot(labels, users)[:, None].float()
        context[torch.rand(len(labels)) < DROPPED] = NOBODY
        noise = torch.randn(len(images), 3, size, size)
        with HALF:
            predicted = inferer(
                inputs=images, autoencoder_model=autoencoder, diffusion_model=network, noise=noise, condition=context,
                timesteps=torch.randint(0, 1000, (len(images),)), mode="crossattn",
            )  # fmt: skip
        loss = mse_loss(predicted.float(), noise)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        average.update_parameters(network)
    average.eval()

    @HALF
    def sample(labels: torch.Tensor) -> torch.Tensor:
        solver = DDIMScheduler(num_train_timesteps=1000, clip_sample=False, **BETAS)
        solver.set_timesteps(STEPS)
        return inferer.sample(
            input_noise=torch.randn(len(labels), 3, size, size), autoencoder_model=autoencoder, scheduler=solver,
            diffusion_model=average.module, conditioning=one_hot(labels, users)[:, None].float(), cfg=GUIDANCE,
            cfg_fill_value=NOBODY, verbose=False,
        )  # fmt: skip

    return sample


def train_autoencoder(task: Task, clock: Clock) -> AutoencoderKL:
    """L1, a little KL, and a patch discriminator after half of the time; the tutorial's LPIPS needs a download."""
    channels = task.images.shape[1]
    model = AutoencoderKL(
        spatial_dims=2, in_channels=channels, out_channels=channels, channels=(16, 32, 64), latent_channels=3,
        num_res_blocks=1, norm_num_groups=16, attention_levels=(False, False, False),
        with_encoder_nonlocal_attn=False, with_decoder_nonlocal_attn=False,
    )  # fmt: skip
    critic = PatchDiscriminator(
        spatial_dims=2, num_layers_d=3, channels=32, in_channels=channels, out_channels=channels
    )
    adversarial = PatchAdversarialLoss(criterion="least_squares")
    optimizer, opponent = torch.optim.Adam(model.parameters(), lr=1e-3), torch.optim.Adam(critic.parameters(), lr=5e-4)
    for images, _, progress in task.batches(clock, AUTOENCODER_BATCH):
        anneal(optimizer, 1e-3, progress)
        with HALF:
            rebuilt, mean, sigma = model(images)
        rebuilt, mean, sigma = rebuilt.float(), mean.float(), sigma.float()
        divergence = 0.5 * (mean**2 + sigma**2 - torch.log(sigma**2) - 1).sum(dim=(1, 2, 3)).mean()
        loss = l1_loss(rebuilt, images) + 1e-6 * divergence
        if progress > 0.5:
            loss = loss + 0.01 * adversarial(critic(rebuilt)[-1], target_is_real=True, for_discriminator=False)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if progress > 0.5:
            pairs = ((rebuilt.detach(), False), (images, True))
            losses = [adversarial(critic(x)[-1], target_is_real=real, for_discriminator=True) for x, real in pairs]
            opponent.zero_grad()
            (0.5 * sum(losses)).backward()
            opponent.step()
    return model.eval()

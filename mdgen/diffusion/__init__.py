"""Diffusion: objectives to train with, guidance and samplers to generate with."""

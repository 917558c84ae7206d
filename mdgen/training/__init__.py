"""Training: one loop, its checkpoints, and one small module per thing trained."""

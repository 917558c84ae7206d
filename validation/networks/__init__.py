"""What is trained or loaded: judges, the verification embedding, encoders of images."""

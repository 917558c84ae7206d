"""What blocks are made of: pure measurements of images, features, scores and motion."""

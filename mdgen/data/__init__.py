"""Data: from disk or the simulator to (spectrogram, user) arrays, in one contract that every stage shares."""

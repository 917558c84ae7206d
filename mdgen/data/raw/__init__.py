"""Radar samples become spectrograms: `settings` describes the radar, `samples` reads its files, `processing` turns ADC
samples into slow time and slow time into dB, `importer` cuts recordings into the windows of a data set."""

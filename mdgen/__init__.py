"""mdgen: user-conditioned latent diffusion for radar micro-Doppler spectrograms.

Importing the package is cheap: torch and everything heavier is imported by the modules that need it.
"""

__version__ = "0.1.0"

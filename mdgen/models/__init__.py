"""Networks: autoencoders, their losses, denoisers and the user conditioning. Nothing here trains anything."""

"""Does it help? Identification of people from one or a few recordings, with and without generated windows."""

"""Radar data as they lie on a disk become a data set. `importer` runs the steps, one module each:

`layouts` (which spectrograms there are and whose), `formats` (reading one), `survey` (what they look like, so how to
convert all), `convert` (one at a time, to [-1, 1]), `work` (what is done already, so that a killed import goes on) and
`grouping` (recordings and roles). `presets` knows the file names of public sets.
"""

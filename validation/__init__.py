"""The judge of synthetic spectrograms: reads data sets, trains its own small models, and never sees a generator.

Importing this package is cheap; `validation.run.validate` is the entry, `networks.judge.identity_retention` the opinion
a generator may ask for while it is being built.
"""

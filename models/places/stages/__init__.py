"""Stages of the job :mod:`models.places.job`, a file each."""

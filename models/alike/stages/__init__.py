"""The stages of the job :mod:`models.alike.job`."""

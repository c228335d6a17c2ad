"""Tampering: pictures that show a camera which no longer watches its scene.

Each kind has an operator of its own on looks (:mod:`operators.tamper.look`), small summaries of a picture, about one
a second: :mod:`frozen`, :mod:`corrupt`, :mod:`obscured` (covered, blinded, out of focus) and :mod:`moved`. All of
them compare with the camera's own usual picture (:mod:`usual`); :mod:`machine` runs them and reports begins and ends.

Published practice sets the frame: E. Ribnick, S. Atev, O. Masoud, N. Papanikolopoulos and R. Voyles (Real-time
detection of camera tampering, AVSS 2006) compare recent pictures with older ones and act only where the change lasts;
A. Saglam and A. Temizel (Real-time adaptive camera tamper detection, AVSS 2009) judge covered lenses and defocus
against an adaptive background, and a moved camera by two backgrounds, a delayed and a current one; G. Lee, M. Lee and
J. Lim (Unified camera tamper detection based on edge and object information, Sensors 15, 2015) count the edges of the
background that disappear; P. Mantini and S. Shah (UHCTD, 2019) find on days of real footage that false alarms decide
whether any of it is usable. Hence thresholds here are far from what ordinary footage reaches, and each kind must
last.
"""

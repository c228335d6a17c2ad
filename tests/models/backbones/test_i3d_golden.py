"""I3D against the outputs of an independent implementation of the same weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from models.backbones.i3d import ClipEncoder, normalise_clips

TOLERANCE = 1e-3


@pytest.fixture(scope="module")
def golden(data):
    with np.load(data / "i3d" / "golden_i3d_kinetics400.npz", allow_pickle=False) as arrays:
        return dict(arrays)


@pytest.mark.parametrize("frames", [16, 64])
def test_features_and_logits_are_the_golden_ones(i3d, golden, frames):
    clips = torch.from_numpy(golden["clips_u8"][:, :frames])
    with torch.inference_mode():
        features, logits = i3d(normalise_clips(clips))
    np.testing.assert_allclose(features, golden[f"features{frames}"], atol=TOLERANCE, rtol=0)
    np.testing.assert_allclose(logits, golden[f"logits{frames}"], atol=TOLERANCE, rtol=0)


def test_the_maps_that_attention_reads_are_the_golden_ones(i3d, golden):
    clips = normalise_clips(torch.from_numpy(golden["clips_u8"][:, :16]))
    with torch.inference_mode():
        mixed_4f = i3d.mixed_4f(clips)
        mixed_5c = i3d.mixed_5c(i3d.mixed_5b(mixed_4f))
    assert list(mixed_4f.shape[1:]) == golden["mixed_4f_shape16"].tolist()
    assert list(mixed_5c.shape[1:]) == golden["mixed_5c_shape16"].tolist()
    np.testing.assert_allclose(mixed_4f.mean((2, 3, 4)), golden["mixed_4f_mean16"], atol=TOLERANCE, rtol=0)
    np.testing.assert_allclose(mixed_5c.mean((2, 3, 4)), golden["mixed_5c_mean16"], atol=TOLERANCE, rtol=0)


def test_the_encoder_normalises_by_itself(i3d, golden):
    clips = torch.from_numpy(golden["clips_u8"][:1, :16])
    with torch.inference_mode():
        features = ClipEncoder(i3d)(clips)
    np.testing.assert_allclose(features, golden["features16"][:1], atol=TOLERANCE, rtol=0)


def test_the_samples_are_recognised(i3d, golden, data):
    labels = (data / "i3d" / "kinetics400_labels.txt").read_text().splitlines()
    with torch.inference_mode():
        logits = i3d(normalise_clips(torch.from_numpy(golden["clips_u8"][:, :16]))).logits
    assert [labels[i] for i in logits.argmax(1)] == [labels[i] for i in golden["logits16"].argmax(1)]

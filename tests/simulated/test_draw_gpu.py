"""Random numbers on a GPU, in the simulator: those of the CPU."""

import numpy as np
import pytest

from recurlab.kernels import draw as cpu
from recurlab.kernels.cuda import draw, target
from recurlab.random import Stream, uniform

SEEDS = [0, 7, 2**33 + 5]


def test_uniforms_have_the_bits_of_the_cpu():
    found = target.to_host(draw.uniforms(SEEDS, "test", 3, 10))
    np.testing.assert_array_equal(found, cpu.uniforms(SEEDS, "test", 3, 10))
    np.testing.assert_array_equal(found[1], uniform(Stream(7, "test", 3), 10))


def test_normals_are_those_of_the_cpu_to_2_ulp_but_for_one_in_a_thousand():
    expected = cpu.normals(SEEDS, "test", 1, 4000)
    ulp = np.abs(target.to_host(draw.normals(SEEDS, "test", 1, 4000)) - expected) / np.spacing(np.abs(expected))
    assert ulp.max() <= 3 and (ulp > 2).mean() < 1e-3  # 2 of 12,000 were at 3, both factors being off by one


def test_sine_and_cosine_are_exact_to_1_ulp():
    angles = np.concatenate([np.linspace(0, 2 * np.pi, 4001), np.arange(5) * np.pi / 2, [1e-300, 6.2831853071795]])
    found = np.array([draw.cosine_and_sine()(angle) for angle in angles.tolist()]).T
    for came, expected in zip(found, (np.cos(angles), np.sin(angles)), strict=True):
        assert (np.abs(came - expected) <= np.spacing(np.abs(expected))).all()


def test_an_address_is_checked():
    with pytest.raises(ValueError, match="count: expected an even number, got 3"):
        draw.uniforms(SEEDS, "test", 0, 3)
    with pytest.raises(ValueError, match="stream"):
        draw.uniforms([-1], "test", 0, 2)

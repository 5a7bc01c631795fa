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


def test_normals_are_those_of_the_cpu_to_2_ulp():
    expected = cpu.normals(SEEDS, "test", 1, 4000)
    ulp = np.abs(target.to_host(draw.normals(SEEDS, "test", 1, 4000)) - expected) / np.spacing(np.abs(expected))
    assert ulp.max() <= 2 and (ulp > 0).mean() < 0.02


MOST_ULP = 0.53  # of the last place; 0.5 is what rounding alone takes, 0.521 the largest error here
needs_more_bits = pytest.mark.skipif(np.finfo(np.longdouble).nmant < 60, reason="long double has no more than 53 bits")


def assert_rounded(came, expected):
    """Numbers beside longer ones, in units of the last place."""
    places = np.spacing(np.abs(expected).astype(float))
    assert (np.abs(came - expected) / places).max() <= MOST_ULP


@needs_more_bits
def test_sine_and_cosine_are_rounded_as_exact_ones():
    angles = np.concatenate([np.linspace(0, 2 * np.pi, 4001), np.arange(5) * np.pi / 2, [1e-300, 6.2831853071795]])
    found = np.array([draw.cosine_and_sine()(angle) for angle in angles.tolist()]).T
    for came, function in zip(found, (np.cos, np.sin), strict=True):
        assert_rounded(came, function(angles.astype(np.longdouble)))


@needs_more_bits
def test_the_logarithm_is_rounded_as_an_exact_one():
    u = np.concatenate([uniform(Stream(0, "test"), 4000), 2.0 ** np.arange(-53, 0), 1 - 2.0 ** np.arange(-53, 0), [0]])
    x = 1 - u
    assert_rounded(np.array([draw.logarithm()(one) for one in x.tolist()]), np.log(x.astype(np.longdouble)))


def test_an_address_is_checked():
    with pytest.raises(ValueError, match="count: expected an even number, got 3"):
        draw.uniforms(SEEDS, "test", 0, 3)
    with pytest.raises(ValueError, match="stream"):
        draw.uniforms([-1], "test", 0, 2)

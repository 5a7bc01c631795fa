"""The closed forms against published and recomputed tables, limits, identities and independent evaluations."""

from fractions import Fraction
from math import log, pi, prod, sqrt

import numpy as np
import pytest
from scipy import stats
from scipy.integrate import quad

from recurlab.measures import theory

THIRD = 1 / sqrt(3)


def digits(value, text):
    """The value in as many digits as the table prints."""
    return f"{value:.{len(text.partition('.')[2])}f}"


def assert_table(function, rows):
    assert {key: digits(function(key), text) for key, text in rows.items()} == rows


# one random matrix


def test_ginibre_radius_table():
    assert_table(lambda n: theory.ginibre_radius(n)[0], {16: "1.090331", 100: "1.059657", 256: "1.043977"})
    assert_table(lambda n: theory.ginibre_radius(n)[1], {16: "0.0878", 100: "0.0296", 256: "0.0172"})


def test_ginibre_radius_of_one_entry_is_rayleigh():
    mean, sd = theory.ginibre_radius(1)
    assert abs(mean - sqrt(pi) / 2) < 1e-12 and abs(sd - sqrt(1 - pi / 4)) < 1e-12


@pytest.mark.parametrize("size", [2, 16, 300, 1024])
def test_ginibre_radius_integrates_its_distribution(size):
    edges = [0, 1 - 3 / sqrt(size) if size > 9 else 0.5, 1, 1 + 3 / sqrt(size), 4]
    pieces = list(zip(edges[:-1], edges[1:], strict=True))
    first, second = (
        sum(
            quad(lambda r, k=k: k * r ** (k - 1) * (1 - theory.ginibre_radius_cdf(r, size)), *ends)[0]
            for ends in pieces
        )
        for k in (1, 2)
    )
    mean, sd = theory.ginibre_radius(size)
    assert abs(mean - first) < 1e-8 and abs(sd - sqrt(second - first**2)) < 1e-6


def test_ginibre_radius_is_the_largest_of_independent_gammas():
    # Kostlan's theorem: the N |λ|² are distributed as independent Gamma(k), k = 1 … N. n = 20,000.
    draws = np.sqrt(np.random.default_rng(0).gamma(np.arange(1, 65), size=(20_000, 64)).max(axis=1) / 64)
    mean, sd = theory.ginibre_radius(64)
    assert abs(draws.mean() - mean) / (sd / sqrt(draws.size)) < 4
    assert stats.kstest(draws, lambda r: theory.ginibre_radius_cdf(r, 64)).pvalue > 1e-4


def test_gain_scales_the_radius():
    assert theory.ginibre_radius(64, gain=0.5) == pytest.approx(np.multiply(theory.ginibre_radius(64), 0.5), rel=1e-14)


def test_real_eigenvalue_table():
    rows = {2: "1.41421", 3: "1.70711", 4: "1.94454", 5: "2.14905", 10: "2.92799", 128: "9.50057"}
    assert_table(theory.expected_real_eigenvalues, rows)


@pytest.mark.parametrize("size", range(1, 40))
def test_real_eigenvalues_in_double_factorials(size):
    def ratio(top):  # top!! / (top+1)!! with top odd, exactly
        return Fraction(prod(range(top, 0, -2)), prod(range(top + 1, 0, -2)))

    if size % 2:
        terms, ones = [ratio(4 * k - 3) for k in range(1, (size - 1) // 2 + 1)], 1
    else:
        terms, ones = [ratio(4 * k - 1) for k in range(size // 2)], 0
    assert theory.expected_real_eigenvalues(size) == pytest.approx(ones + sqrt(2) * float(sum(terms)), rel=1e-13)


def test_real_eigenvalues_of_two_by_two_and_of_large_matrices():
    assert theory.expected_real_eigenvalues(2) == pytest.approx(2 * 2 ** (-2 * 1 / 4), rel=1e-14)  # 2 P(all real)
    for size in (2000, 2001):
        assert abs(theory.expected_real_eigenvalues(size) - sqrt(2 * size / pi) - 0.5) < 0.01


# products


def test_log_gradient_tables():
    assert_table(lambda n: theory.log_gradient_moments(n)[0], {64: "-0.00785319", 256: "-0.00195567"})
    variances = {64: "0.00793584", 128: "0.00393693", 256: "0.00196077"}
    assert_table(lambda n: theory.log_gradient_moments(n)[1], variances)


def test_the_typical_gradient_is_below_the_mean_square():
    mean, variance = theory.log_gradient_moments(64, gain=1.3)
    assert mean < log(1.3)  # ½ ln E‖W v‖² = ln g
    assert mean + variance == pytest.approx(log(1.3), abs=1e-4)  # equal for a log-normal, which it nearly is


def test_gaussian_product_table():
    exponents = theory.gaussian_product_exponents(64)
    assert [digits(exponents[i], text) for i, text in ((0, "-0.00785319"), (-1, "-2.714623"))] == [
        "-0.00785319",
        "-2.714623",
    ]
    assert digits(exponents.mean(), "-0.517312") == "-0.517312"


def test_gaussian_product_exponents_of_one_number_and_of_many():
    assert theory.gaussian_product_exponents(1)[0] == pytest.approx(-(np.euler_gamma + log(2)) / 2, rel=1e-14)
    exponents = theory.gaussian_product_exponents(4000, gain=2.0) - log(2)
    assert np.all(np.diff(exponents) < 0)
    # i/N = x: ½ ln(1-x), a triangle law for e^λ; its mean is -1/2.
    assert abs(exponents[1000] - 0.5 * log(0.75)) < 1e-3 and abs(exponents.mean() + 0.5) < 1e-3


def test_exponents_sum_to_the_mean_log_determinant():
    # n = 20,000 matrices of 8 × 8, s.e. 0.011.
    draws = np.random.default_rng(0).standard_normal((20_000, 8, 8)) / sqrt(8)
    logs = np.linalg.slogdet(draws)[1]
    error = logs.std(ddof=1) / sqrt(logs.size)
    assert abs(logs.mean() - theory.gaussian_product_exponents(8).sum()) < 4 * error < 0.05


def test_fuss_catalan_table():
    assert [theory.fuss_catalan_moment(length, 3) for length in (1, 2, 5, 10)] == [5, 12, 51, 176]
    assert [theory.fuss_catalan_moment(length, 2) for length in range(1, 50)] == list(range(2, 51))
    assert [theory.fuss_catalan_moment(1, order) for order in range(6)] == [1, 1, 2, 5, 14, 42]


def test_top_singular_value_table():
    assert_table(theory.product_top_singular_value, {0: "1.000000", 1: "2.000000", 2: "2.598076", 10: "5.341457"})


@pytest.mark.parametrize("length", [1, 2, 10, 100])
def test_fuss_catalan_moments_grow_as_the_top_singular_value(length):
    order = 2000  # m_{k+1} / m_k = σ² (1 - 3/(2k) + …)
    ratio = Fraction(theory.fuss_catalan_moment(length, order + 1), theory.fuss_catalan_moment(length, order))
    assert abs(float(ratio) / theory.product_top_singular_value(length) ** 2 - 1 + 1.5 / order) < 0.01 / order


def test_product_moments_of_one_number_and_of_large_matrices():
    assert [theory.gaussian_product_moments(1, length) for length in (0, 1, 6)] == [(1, 1), (1, 3), (1, 3**6)]
    assert theory.gaussian_product_moments(64, 1)[1] == pytest.approx(2 + 1 / 64, rel=1e-15)
    for length in (1, 5, 50):
        limit = theory.fuss_catalan_moment(length, 2)
        assert theory.gaussian_product_moments(10**9, length)[1] == pytest.approx(limit, rel=1e-6)


def test_product_moments_by_simulation():
    # n = 40,000 products of 4 matrices of 8 × 8: m₂ = 6.76 with s.e. 0.04, where N → ∞ would give 5.
    rng, product = np.random.default_rng(0), np.eye(8)
    for _ in range(4):
        product = rng.standard_normal((40_000, 8, 8)) / sqrt(8) @ product
    gram = product @ np.swapaxes(product, 1, 2)
    came = np.stack([np.trace(gram, axis1=1, axis2=2), np.sum(gram**2, axis=(1, 2))]) / 8
    error = came.std(axis=1, ddof=1) / sqrt(came.shape[1])
    expected = theory.gaussian_product_moments(8, 4)
    assert np.all(np.abs(came.mean(axis=1) - expected) < 4 * error)
    assert error[1] < (expected[1] - theory.fuss_catalan_moment(4, 2)) / 10


# mean field


def exponent(drive):
    return lambda gain: theory.mean_field("tanh", gain, drive).exponent


def test_critical_gain_table():
    rows = {0.001: "1.09050", 0.01: "1.19340", 0.1: "1.40928", 1.0: "1.85559"}
    assert_table(theory.critical_gain, rows)
    variances = {0.001: "0.1073", 0.01: "0.2733", 0.1: "0.8058", 1.0: "3.0364"}
    assert_table(lambda drive: theory.mean_field("tanh", theory.critical_gain(drive), drive).q, variances)


def test_lyapunov_tables():
    below = {0.5: "-0.69315", THIRD: "-0.54931", 0.9: "-0.10536", 1.0: "0"}
    assert_table(exponent(0.0), below | {1.1: "0.00507", 1.5: "0.06522", 2.0: "0.15472"})
    assert_table(exponent(0.1), {1.0: "-0.18637", 1.5: "0.02620", 2.0: "0.14008", 3.0: "0.30564"})


def gaussian_expectation(function, q):
    """E f(√q z) by adaptive quadrature of z, cut where f turns and where the density ends."""
    inner = min(1 / sqrt(q), 9) if q > 0 else 9
    edges = [-10, -inner, 0, inner, 10]
    parts = zip(edges[:-1], edges[1:], strict=True)
    return sum(quad(lambda z: stats.norm.pdf(z) * function(sqrt(q) * z), a, b, epsrel=1e-12)[0] for a, b in parts)


PHI = {
    "tanh": (np.tanh, lambda x: 1 - np.tanh(x) ** 2),
    "sigmoid": (lambda x: 1 / (1 + np.exp(-x)), lambda x: 1 / (2 + np.exp(x) + np.exp(-x))),
    "relu": (lambda x: max(x, 0.0), lambda x: float(x > 0)),
    "linear": (lambda x: x, lambda x: 1.0),
}


@pytest.mark.parametrize(
    ("activation", "gain", "drive"),
    [
        *(("tanh", gain, drive) for gain in (0.3, 1.0, 1.05, 1.5, 5.0, 20.0) for drive in (0.0, 1e-6, 0.1, 4.0)),
        *(("sigmoid", gain, drive) for gain in (0.5, 2.0, 10.0) for drive in (0.0, 0.1, 4.0)),
        *(("relu", gain, drive) for gain in (0.5, 1.3) for drive in (0.1, 4.0)),
        ("linear", 0.9, 0.5),
    ],
)
def test_mean_field_is_a_fixed_point_by_adaptive_quadrature(activation, gain, drive):
    found, (phi, slope) = theory.mean_field(activation, gain, drive), PHI[activation]
    again = gain**2 * gaussian_expectation(lambda x: phi(x) ** 2, found.q) + drive
    chi = gain**2 * gaussian_expectation(lambda x: slope(x) ** 2, found.q)
    assert found.q == pytest.approx(again, rel=1e-9, abs=1e-12)
    assert found.chi == pytest.approx(chi, rel=1e-8)
    assert found.exponent == pytest.approx(0.5 * log(chi), rel=1e-8, abs=1e-8)


def test_tanh_mean_field_near_onset_and_far_above():
    # Series in q: q = g-1 and χ = 1 + 4q²/3, hence λ_1 = ⅔ (g-1)²; for g → ∞, tanh is a sign and χ = g (4/3)/√(2π).
    assert exponent(0.0)(1 + 1e-4) / 1e-8 == pytest.approx(2 / 3, rel=1e-3)
    steep = theory.mean_field("tanh", 1000.0, 0.0)
    assert steep.q == pytest.approx(1e6, rel=1e-2) and steep.chi == pytest.approx(4000 / 3 / sqrt(2 * pi), rel=1e-2)


def test_networks_that_have_no_finite_variance():
    assert theory.mean_field("linear", 1.0, 0.1) == (np.inf, 1.0, 0.0)
    assert theory.mean_field("relu", 2.0, 0.1) == (np.inf, 2.0, 0.5 * log(2))
    assert theory.mean_field("relu", 1.0, 0.0) == (0.0, 0.5, 0.5 * log(0.5))
    assert theory.mean_field("tanh", 0.9, 0.0).q == 0
    assert theory.mean_field("tanh", 0.0, 0.3) == (0.3, 0.0, -np.inf)


@pytest.mark.parametrize("drive", [1e-9, 1e-3, 0.37, 1.0, 30.0])
def test_critical_gain_has_chi_one(drive):
    assert theory.mean_field("tanh", theory.critical_gain(drive), drive).chi == pytest.approx(1, abs=1e-9)


def test_critical_gain_starts_at_one_and_rises_with_the_cube_root():
    assert theory.critical_gain(0.0) == 1.0
    q = (0.75e-9) ** (1 / 3)  # c = 4q³/3 and g = 1 + q to leading order
    assert theory.critical_gain(1e-9) - 1 == pytest.approx(q, rel=1e-2)
    gains = [theory.critical_gain(drive) for drive in (0, 1e-6, 0.01, 0.1, 1, 10, 100)]
    assert np.all(np.diff(gains) > 0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: theory.mean_field("softplus", 1.0, 0.0), "activation: .*tanh, sigmoid, relu, linear.*softplus"),
        (lambda: theory.mean_field("tanh", -1.0, 0.0), "gain, drive: .* -1.0"),
        (lambda: theory.critical_gain(-0.1), "drive: .*-0.1"),
        (lambda: theory.latch_threshold(0.9), "w: .*0.9"),
        (lambda: theory.latch_gradient(0.9), "w: .*0.9"),
        (lambda: theory.sigmoid_saddle_nodes(3.9), "w: .*3.9"),
        (lambda: theory.chrono_retention(2, 1), "t_max: .*2"),
        (lambda: theory.ginibre_radius_cdf(1.0, 0), "size: .*0"),
    ],
)
def test_refusals(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# one unit


def test_latch_tables():
    for w, threshold, gradient in ((1.1, 0.02048, 0.82176), (1.5, 0.20755, 0.39431), (2, 0.53284, 0.16637)):
        assert theory.latch_threshold(w) == pytest.approx(threshold, abs=1e-5)
        assert theory.latch_gradient(w) == pytest.approx(gradient, abs=1e-5)


def settle(step, start, steps=5000):
    for _ in range(steps):
        start = step(start)
    return start


@pytest.mark.parametrize("w", [1.1, 2.0, 5.0])
def test_a_unit_latches_just_below_the_threshold_and_not_above(w):
    for share, kept in ((0.999, True), (1.001, False)):
        push = -share * theory.latch_threshold(w)
        assert (settle(lambda a, u=push: w * np.tanh(a) + u, w) > 0) == kept


@pytest.mark.parametrize("w", [1.1, 2.0, 5.0, 400.0])
def test_latch_gradient_is_the_slope_at_the_fixed_point(w):
    fixed = settle(lambda a: w * np.tanh(a), w)
    assert theory.latch_gradient(w) == pytest.approx(w * (1 - np.tanh(fixed) ** 2), rel=1e-9, abs=1e-12)


def test_latch_at_the_onset():
    assert theory.latch_threshold(1.0) == 0 and theory.latch_gradient(1.0) == 1


def test_saddle_nodes_table():
    assert theory.sigmoid_saddle_nodes(5) == pytest.approx((-2.655610, -2.344390), abs=1e-6)
    assert theory.sigmoid_saddle_nodes(4) == pytest.approx((-2, -2), abs=1e-12)


@pytest.mark.parametrize("w", [5.0, 8.0])
def test_two_states_between_the_saddle_nodes_and_one_outside(w):
    low, high = theory.sigmoid_saddle_nodes(w)
    for b, states in ((low - 1e-3, 1), (low + 1e-3, 2), (high - 1e-3, 2), (high + 1e-3, 1)):
        ends = [settle(lambda x, b=b: w / (1 + np.exp(-x)) + b, start) for start in (-w, w)]
        assert (abs(ends[1] - ends[0]) > 1e-3) + 1 == states


# gates


def test_forget_bias_tables():
    assert_table(lambda b: 10 ** theory.forget_decay(b, 1), {0: "0.5", 1: "0.73106", 2: "0.88080"})
    assert_table(theory.half_life, {0: "1.00", 1: "2.21", 2: "5.46"})


def test_forget_decay_halves_in_a_half_life_and_does_not_underflow():
    biases = np.array([-800.0, -3.0, 0.0, 5.0, 40.0])
    assert theory.forget_decay(biases, theory.half_life(biases)) == pytest.approx(np.log10(0.5), rel=1e-14)
    assert theory.forget_decay(0.0, 10**6) == pytest.approx(-(10**6) * np.log10(2), rel=1e-14)


def test_chrono_retention_limits():
    assert theory.chrono_retention(50, 0) == pytest.approx(1, rel=1e-14)
    assert theory.chrono_retention(50, 1) == pytest.approx(1 - log(50 / 2) / 48, rel=1e-12)
    assert theory.chrono_retention(2 + 1e-9, 7) == pytest.approx(0.5**7, rel=1e-8)
    # T_max = t → ∞: ∫_0^1 e^(-1/v) dv = 0.148496
    assert theory.chrono_retention(1e6, 1e6) == pytest.approx(0.148496, abs=1e-5)

"""Zoneout: state = k · (what the cell gives) + (1 - k) · old, against the oracle, differences, and its two ends."""

import naive
import numpy as np
import pytest
from cases import CASES, SMALL, Case, assert_close, assert_same_bits, problem
from test_conformance import EXACT, chunks_of, layer_of, pick, replicated

import recurlab as rl
from recurlab.cells import CELLS
from recurlab.layers.recurrent import backward, forward

TWO_WAYS = CASES["two slices, bidirectional, lengths"]
STACK = CASES["stacked, bidirectional, lengths"]
BRANCHES = ("rnn_tanh", "lstm_peephole", "gru", "gru_reset_before", "lru", "gru_norm")  # of the kernels


def shares(cell, case, seed=0, dtype="float64"):
    """k between 0 and 1, a third of each of 0 and of 1."""
    rng = np.random.default_rng([7, seed])
    shape = (case.layers * case.directions, case.steps, case.batch, case.hidden)
    return tuple(np.clip(3 * rng.random(shape) - 1, 0, 1).astype(dtype) for _ in naive.STATES[cell])


def both(layer, p, keep, **options):
    y, final, tape = forward(layer, p.params, p.x, p.state, p.lengths, keep=keep, **options)
    grads, d_x, d_initial = backward(layer, p.params, tape, p.dy, p.dstate)
    return {"y": y, "final": final, "d_x": d_x, "d_initial": d_initial, **{f"d {k}": v for k, v in grads.items()}}


def zoned(cell):
    """The oracle's step; the inputs of a step carry its k of every state behind them."""

    def step(p, x, state):
        inputs, hidden = p["weight_ih"].shape[-1], state[0].shape[-1]
        x, *k = np.split(x, [inputs + s * hidden for s in range(len(state))], axis=-1)
        new, values = naive.STEPS[cell](p, x, state)
        mixed = tuple(part * fresh + (1 - part) * old for part, fresh, old in zip(k, new, state, strict=True))
        return mixed, values | dict(zip(naive.STATES[cell], mixed, strict=True))

    return step


def check_oracle(cell, case=TWO_WAYS):
    """One layer, with the same k in both directions: outputs, states and every gradient."""
    p, layer = problem(cell, case), layer_of(cell, case)
    keep = tuple(np.stack([part[0]] * case.directions) for part in shares(cell, case))
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(naive.STEPS, "zoned", zoned(cell))
        patch.setitem(naive.STATES, "zoned", naive.STATES[cell])
        x = np.concatenate([p.x, *(part[0] for part in keep)], axis=-1)
        y, final, _ = naive.forward("zoned", p.params, x, p.state, case.all_lengths, **case.depth)
        ends = p.dy, p.dstate
        grads, d_x, d_initial = naive.gradients("zoned", p.params, x, p.state, case.all_lengths, *ends, **case.depth)
    expected = {"y": y, "final": final, "d_x": d_x[..., : case.inputs], "d_initial": d_initial}
    assert_close(both(layer, p, keep), expected | {f"d {name}": value for name, value in grads.items()}, EXACT)


@pytest.mark.parametrize("cell", CELLS)
def test_outputs_and_gradients_are_those_of_the_equations(cell):
    check_oracle(cell)


@pytest.mark.parametrize("cell", CELLS)
def test_gradients_are_central_differences_in_a_stack_of_two_directions(cell):
    p, other, layer, keep = (
        problem(cell, STACK),
        problem(cell, STACK, seed=1),
        layer_of(cell, STACK),
        shares(cell, STACK),
    )

    def loss(h):
        params = {name: p.params[name] + h * other.params[name] for name in p.params}
        state = tuple(a + h * b for a, b in zip(p.state, other.state, strict=True))
        y, final, _ = forward(layer, params, p.x + h * other.x, state, p.lengths, keep=keep)
        return (p.dy * y).sum() + sum((d * part).sum() for d, part in zip(p.dstate, final, strict=True))

    found = both(layer, p, keep)
    slope = sum((found[f"d {name}"] * other.params[name]).sum() for name in p.params) + (found["d_x"] * other.x).sum()
    slope += sum((d * direction).sum() for d, direction in zip(found["d_initial"], other.state, strict=True))
    h = 1e-6
    assert abs((loss(h) - loss(-h)) / (2 * h) - slope) <= 1e-8 * max(abs(slope), 1)


@pytest.mark.parametrize("cell", CELLS)
def test_all_new_is_no_zoneout_and_all_old_is_no_step(cell):
    p, layer = problem(cell, STACK), layer_of(cell, STACK)
    y, final, tape = forward(layer, p.params, p.x, p.state, p.lengths)
    grads, _, d_initial = backward(layer, p.params, tape, p.dy, p.dstate)
    new, old = (both(layer, p, (k,) * len(p.state)) for k in (1, 0.0))
    assert_close({"y": new["y"], "final": new["final"]}, {"y": y, "final": final}, 0)  # but for the sign of a zero
    assert_close({name: new[f"d {name}"] for name in grads}, grads, EXACT)
    assert_close(new["d_initial"], d_initial, EXACT)
    assert_close(old["final"], p.state, 0)
    assert not any(old[f"d {name}"].any() for name in grads)


def test_units_that_keep_their_state_pass_its_gradient_on_unchanged():
    """k = 0 for every other unit: dL/dc_0 is dL/dc_T there."""
    case = Case(hidden=6)
    p, layer, keep = problem("lstm", case), layer_of("lstm", case), shares("lstm", case)
    for part in keep:
        part[..., ::2] = 0
    found = both(layer, p._replace(dy=0 * p.dy, dstate=(0 * p.dstate[0], p.dstate[1])), keep)
    assert_same_bits(found["d_initial"][1][..., ::2].copy(), p.dstate[1][..., ::2].copy())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("cell", BRANCHES)
def test_replicas_checkpoints_and_rows_have_the_bits_they_have_alone(cell, dtype):
    check_alone(cell, STACK, dtype)


def check_alone(cell, case, dtype="float64"):
    problems, layer = [problem(cell, case, seed, dtype) for seed in range(2)], layer_of(cell, case, dtype)
    keeps = [shares(cell, case, seed, dtype) for seed in range(2)]
    together = tuple(map(np.stack, zip(*keeps, strict=True)))
    with chunks_of(1, cell, case, dtype):
        found = both(layer, replicated(problems, False), together, checkpoint=True)
        for r, (p, keep) in enumerate(zip(problems, keeps, strict=True)):
            alone = both(layer, p, keep)
            assert_same_bits(pick(found, r), alone)
    for b, length in enumerate(case.all_lengths):
        row, own = slice(b, b + 1), tuple(part[:, :length, b : b + 1].copy() for part in keep)
        state = tuple(part[:, row] for part in p.state)
        y, final, _ = forward(layer, p.params, p.x[:length, row], state, keep=own)
        assert_same_bits(y[:, 0].copy(), alone["y"][:length, b].copy())
        for came, expected in zip(final, alone["final"], strict=True):
            assert_same_bits(came[:, 0].copy(), expected[:, b].copy())


def check_own_shares():
    """Another k for the second direction changes the second half of y and of the final states, and nothing else."""
    p, layer, keep = problem("gru", TWO_WAYS), layer_of("gru", TWO_WAYS), shares("gru", TWO_WAYS)
    other = tuple(np.stack([part[0], 1 - part[1]]) for part in keep)
    (one, (ends,), _), (two, (other_ends,), _) = (
        forward(layer, p.params, p.x, p.state, p.lengths, keep=k) for k in (keep, other)
    )
    hidden = TWO_WAYS.hidden
    assert_same_bits((two[..., :hidden].copy(), other_ends[0]), (one[..., :hidden].copy(), ends[0]))
    assert (two[0, :, hidden:] != one[0, :, hidden:]).all() and (other_ends[1] != ends[1]).all()


def test_jacobians_and_lags_go_back_through_zoneout():
    """The product of the Jacobians is what backward does to a gradient of the final state."""
    case = Case(steps=4, batch=2, hidden=3, layers=2)
    p, layer = problem("lstm", case), layer_of("lstm", case)
    _, _, tape = forward(layer, p.params, p.x, p.state, keep=shares("lstm", case))
    _, _, d_initial = backward(layer, p.params, tape, None, p.dstate)
    jacobians = rl.jacobians(layer, p.params, tape)
    for b in range(case.batch):
        pulled = np.concatenate([part[:, b].ravel() for part in p.dstate])
        for J in jacobians[::-1, b]:
            pulled = J.T @ pulled
        assert_close(pulled, np.concatenate([part[:, b].ravel() for part in d_initial]), 1e-13)
        logs = rl.gradient_by_lag(layer, p.params, tape, 0 * p.dy, p.dstate)
        assert logs[-1, b] == pytest.approx(np.log(np.linalg.norm(pulled)), abs=1e-13)


GOOD = np.ones((1, 5, 3, 5))


@pytest.mark.parametrize(
    ("keep", "message"),
    [
        (0.5, "keep: expected a tuple of 2 numbers or arrays \\(h, c\\), got float"),
        ((0.5,), "keep: expected a tuple of 2"),
        ((0.5, 1.5), "keep c: expected 0 to 1, got 1.5 to 1.5"),
        ((-GOOD, 1.0), "keep h: expected 0 to 1, got -1.0 to -1.0"),
        ((GOOD[0], 1.0), "keep h: expected shape"),
        ((GOOD.astype("float32"), 1.0), "keep h: expected dtype float64"),
        ((np.nan, 1.0), "keep h: expected finite values"),
    ],
)
def test_a_wrong_keep_is_refused(keep, message):
    p, layer = problem("lstm", Case()), layer_of("lstm", Case())
    with pytest.raises(ValueError, match=message):
        forward(layer, p.params, p.x, p.state, keep=keep)


# What runs against a changed copy of the sources (test_mutations.py).

CHECKS = {f"zoneout of {cell}": (check_oracle, cell) for cell in BRANCHES}
CHECKS |= {"zoneout of replicas and rows alone": (check_alone, "lstm", SMALL)}
CHECKS |= {"every pass has its own zoneout": (check_own_shares,)}


@pytest.mark.parametrize("name", CHECKS)
def test_the_checks_for_changed_sources_pass_on_these(name):
    check, *arguments = CHECKS[name]
    check(*arguments)

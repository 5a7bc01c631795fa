"""Reber's grammar and its embedding between two equal symbols: predict every next symbol of a random string.

A grammar is an automaton; where two edges leave a state, each is taken with probability 1/2. Strings of more than
`length` symbols are drawn again, which is done here by the conditional probabilities of the edges. All expected values
are sums over the automaton for exactly that truncation.
"""

from functools import cache, partial
from typing import NamedTuple

import numpy as np

from recurlab.kernels import draw
from recurlab.models.sequence import Batch
from recurlab.tasks.task import Draws, Task, one_hot

SYMBOLS = "BTPSXVE"
OUTER = SYMBOLS.index("T"), SYMBOLS.index("P")
# From the state after the first B to the state before the last E, which is 5 (Hochreiter & Schmidhuber 1997, fig. 3).
_INNER = (("T", 1), ("P", 2)), (("S", 1), ("X", 3)), (("T", 2), ("V", 4)), (("X", 2), ("S", 5)), (("P", 3), ("V", 5))


def _inner(first: int) -> tuple:
    """Reber's grammar as states first … first + 6, its string from B to E; then comes state first + 7."""
    middle = [tuple((symbol, first + 1 + to) for symbol, to in edges) for edges in _INNER]
    return (("B", first + 1),), *middle, (("E", first + 7),)


def _outer(symbol: str, first: int, last: int) -> tuple:
    """An inner string, and the outer symbol again on the way to state `last`."""
    return *_inner(first), ((symbol, last),)


RULES = {
    "reber": _inner(0),
    # 0 B, 1 outer symbol, 2 … 9 after T, 10 … 17 after P, 18 E
    "embedded_reber": ((("B", 1),), (("T", 2), ("P", 10)), *_outer("T", 2, 18), *_outer("P", 10, 18), (("E", 19),)),
}


class Grammar(NamedTuple):
    """An automaton with two edges at every state; the second has probability 0 where there is only one.

    The last state is the end: it follows itself.
    """

    symbols: np.ndarray  # (S, 2)
    following: np.ndarray  # (S, 2)
    probabilities: np.ndarray  # (S, 2)


@cache
def grammar(name: str) -> Grammar:
    """A grammar of RULES as arrays."""
    rules = [edges * (3 - len(edges)) for edges in RULES[name]]  # a lonely edge twice
    end = len(rules)
    symbols = [[SYMBOLS.index(symbol) for symbol, _ in edges] for edges in rules] + [[0, 0]]
    following = [[to for _, to in edges] for edges in rules] + [[end, end]]
    probabilities = [[0.5, 0.5] if len(edges) == 2 else [1.0, 0.0] for edges in RULES[name]] + [[1.0, 0.0]]
    return Grammar(np.array(symbols), np.array(following), np.array(probabilities))


def completion(name: str, length: int) -> np.ndarray:
    """P(the string ends within m more symbols | state s), m = 0 … length: (length + 1, S)."""
    rules = grammar(name)
    within = np.zeros((length + 1, len(rules.following)))
    within[:, -1] = 1
    for m in range(length):
        within[m + 1] = (rules.probabilities * within[m][rules.following]).sum(axis=1)
    return within


@cache
def limits(name: str, length: int) -> np.ndarray:
    """P(first edge | state s at step t, the string ends within `length` symbols), (length, S); 1 where none can."""
    rules, within = grammar(name), completion(name, length)
    first = rules.probabilities[:, 0] * within[:-1][:, rules.following[:, 0]]
    return np.where(within[1:] > 0, first / np.maximum(within[1:], np.finfo(float).tiny), 1)[::-1].copy()


def visits(name: str, length: int) -> np.ndarray:
    """P(edge k of state s is taken at step t), strings of at most `length` symbols, (length, S, 2); none at the end."""
    rules, chance = grammar(name), limits(name, length)
    taken, state = np.zeros((length, *rules.following.shape)), np.zeros(len(rules.following))
    state[0] = 1
    for t in range(length):
        taken[t] = state[:, None] * np.stack([chance[t], 1 - chance[t]], axis=1)
        state = np.bincount(rules.following.ravel(), taken[t].ravel(), len(state))
    taken[:, -1] = 0
    return taken


def predictions(name: str, length: int) -> float:
    """Expected number of predicted symbols of a string, all but the first B: 11 for long embedded strings."""
    return float(visits(name, length).sum()) - 1


def entropy(name: str, length: int) -> float:
    """Entropy of a string in nats: E[-ln p(string)] + ln P(at most `length` symbols); 7 ln 2 for long embedded ones."""
    rules, taken = grammar(name), visits(name, length)
    surprise = -np.log(np.where(taken.sum(axis=0) > 0, rules.probabilities, 1))
    return float((taken * surprise).sum() + np.log(completion(name, length)[length, 0]))


def _optimum(length: int, name: str) -> float:
    return entropy(name, length) / predictions(name, length)


def _pairs(name: str, length: int) -> np.ndarray:
    """Expected number of times that symbol b follows symbol a in a string, (7, 7)."""
    rules, taken, chance = grammar(name), visits(name, length), limits(name, length)
    counts = np.zeros((len(SYMBOLS), len(SYMBOLS)))
    for edge in (0, 1):
        for then in (0, 1):
            at = rules.following[:, edge]
            share = chance[1:, at] if then == 0 else 1 - chance[1:, at]
            expected = (taken[:-1, :, edge] * share * (at < len(at) - 1)).sum(axis=0)
            np.add.at(counts, (rules.symbols[:, edge], rules.symbols[at, then]), expected)
    return counts


def _without_memory(length: int, name: str) -> float:
    """H(next symbol | symbol), in nats for each predicted symbol."""
    counts = _pairs(name, length)
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), np.finfo(float).tiny)
    return float(-(counts * np.log(np.where(counts > 0, share, 1))).sum() / counts.sum())


def outer_forgotten(length: int) -> float:
    """The best loss on embedded strings of a guess that has forgotten the outer symbol: ln 2 more for each string."""
    name = "embedded_reber"
    return (entropy(name, length) + np.log(2)) / predictions(name, length)


def outer_steps(batch: Batch) -> np.ndarray:
    """The step of each embedded string at which the second outer symbol is the target, (R, B)."""
    return batch.weights.sum(axis=-2).astype(int) - 2


def exchanged(batch: Batch) -> Batch:
    """The same embedded strings with the other outer symbol, T for P and P for T, at both of its places."""
    x, targets, again = batch.x.copy(), batch.targets.copy(), outer_steps(batch)
    replica, row = np.indices(again.shape)
    for step in (0, again):  # where it is the target; one step later it is the input
        other = sum(OUTER) - targets[replica, step, row]
        targets[replica, step, row] = other
        x[replica, step + 1, row] = one_hot(other, len(SYMBOLS), x.dtype)
    return batch._replace(x=x, targets=targets)


def next_symbols(name: str, length: int, batch: Batch) -> np.ndarray:
    """p(next symbol | all symbols so far) at every step of strings of at most `length` symbols, (R, T, B, 7).

    Exact: the symbols so far tell the state of the automaton. Beyond the end of a string the entries mean nothing.
    """
    rules, first, symbols = grammar(name), limits(name, length), batch.x.argmax(axis=-1)
    to = np.zeros((len(rules.following), len(SYMBOLS)), int)
    np.put_along_axis(to, rules.symbols, rules.following, axis=1)
    each = np.eye(len(SYMBOLS))[rules.symbols]  # (S, 2, 7)
    state, found = np.zeros(symbols[:, 0].shape, int), np.empty((*symbols.shape, len(SYMBOLS)))
    for t in range(symbols.shape[1]):
        state = to[state, symbols[:, t]]
        p = first[t + 1, :, None]
        found[:, t] = (p * each[:, 0] + (1 - p) * each[:, 1])[state]
    return found


def _strings(draws: Draws, length: int, batch: int, dtype: str, name: str) -> Batch:
    """Strings of at most `length` symbols; at step t symbol t is the input and symbol t + 1 the target."""
    rules = grammar(name)
    edges = draw.walk(draws.uniforms("edges", length, batch), limits(name, length), rules.following)
    symbols, inside = np.take(rules.symbols.ravel(), edges), edges < 2 * len(RULES[name])
    weights = inside[:, 1:].astype(dtype)
    return Batch(one_hot(symbols[:, :-1], len(SYMBOLS), dtype) * weights[..., None], symbols[:, 1:], weights)


def _steps(length: int) -> int:
    return length - 1


def _task(name: str, shortest: int, source: str, says: str) -> Task:
    return Task(
        name=name,
        source=source,
        says=says,
        loss="cross_entropy",
        at="every",
        inputs=len(SYMBOLS),
        outputs=len(SYMBOLS),
        baseline=partial(_without_memory, name=name),
        optimum=partial(_optimum, name=name),
        generate=partial(_strings, name=name),
        steps=_steps,
        shortest=shortest,
    )


REBER = _task(
    "reber",
    5,
    "Reber 1967; Cleeremans, Servan-Schreiber, McClelland 1989",
    "strings of at most `length` symbols, 7 kinds; predict every next one; the symbol alone leaves H(next | symbol)",
)
EMBEDDED_REBER = _task(
    "embedded_reber",
    9,
    "Hochreiter & Schmidhuber 1997, experiment 1; Fahlman 1991",
    "as reber, strings between two equal outer symbols T or P; optimum 7/11 bit a symbol for long lengths, 1 bit a "
    "string more if the outer symbol is forgotten",
)

"""Walks through automata whose state the symbols tell: drawn from uniform numbers, and followed.

An automaton of S states and V symbols is following (S, V), the state after each symbol, -1 where it cannot come; every
walk begins in state 0. Rows go over the threads and share nothing.
"""

from functools import cache

import numpy as np
from numba import prange

from recurlab.kernels.target import cached, start_threads


def _walk(u, cumulated, following, symbols):
    """From state s the number u takes the first symbol v with u < cumulated[s, v]."""
    for r in prange(u.shape[0]):
        state = 0
        for t in range(u.shape[1]):
            low, high = 0, cumulated.shape[1] - 1
            while low < high:
                middle = (low + high) // 2
                if u[r, t] < cumulated[state, middle]:
                    high = middle
                else:
                    low = middle + 1
            symbols[r, t] = low
            state = following[state, low]


def _follow(symbols, following, states):
    """The state before each symbol; -1 after a symbol that cannot come."""
    for r in prange(symbols.shape[0]):
        state = 0
        for t in range(symbols.shape[1]):
            states[r, t] = state
            if state >= 0:
                state = following[state, symbols[r, t]]


@cache
def _compiled(function):
    start_threads()
    return cached(function, parallel=True)


def walk(u: np.ndarray, cumulated: np.ndarray, following: np.ndarray) -> np.ndarray:
    """The symbols (R, N) int32 that uniform numbers u (R, N) draw; cumulated (S, V) rises to 1 in every row."""
    symbols = np.empty(u.shape, np.int32)
    _compiled(_walk)(u, cumulated, following, symbols)
    return symbols


def follow(symbols: np.ndarray, following: np.ndarray) -> np.ndarray:
    """The states (R, N) int32 before each of the symbols (R, N) int32, -1 behind one that cannot come."""
    states = np.empty(symbols.shape, np.int32)
    _compiled(_follow)(symbols, following, states)
    return states


def warm() -> None:
    """Compile everything here, or load it: what `recurlab compile` calls."""
    one = np.zeros((1, 1), np.int32)
    follow(walk(np.zeros((1, 1)), np.ones((1, 1)), one), one)

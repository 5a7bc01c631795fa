"""Suite `language`: a whole update of a language model, with softmax over 10,000 words: the small model of Zaremba,
Sutskever & Vinyals (2014), two layers on windows of a text whose state goes on; forward, backward, clip, SGD.

The time is that of one update; FLOPs are those of the layers and of the softmax.
"""

from typing import NamedTuple

import numpy as np

from recurlab import optimise
from recurlab.bench import ours, peers
from recurlab.bench.case import Case, useful_flops
from recurlab.bench.suite import Job, Result, Settings, compare, jobs_of
from recurlab.layers.recurrent import recurrent
from recurlab.models.recurrent_lm import recurrent_lm, uniform_initial, zero_states
from recurlab.models.recurrent_lm_gradients import gradients
from recurlab.models.words import Words
from recurlab.random import Stream, integers

SIZES = ((20, 20, 200, 200), (35, 20, 200, 200))  # (T, B, H, E)
WORDS, LAYERS, SCALE = 10_000, 2, 0.1
LEARNING_RATE, CLIP = 1e-5, 5.0  # so small a rate that thousands of updates on one window leave the network as it was


class Setting(NamedTuple):
    """What both sides begin with: parameters (without R) under recurlab's names, and one window, (T, B) each."""

    case: Case
    layers: int
    params: dict
    ids: np.ndarray
    targets: np.ndarray


def setting_of(case: Case, words: int, layers: int) -> Setting:
    """Weights U(-0.1, 0.1) and a random window."""
    params = uniform_initial(_model(case, words, layers), [0], SCALE)
    window = integers(Stream(0, "bench words"), words, (case.T + 1, case.B))
    return Setting(case, layers, {name: array[0] for name, array in params.items()}, window[:-1], window[1:])


def _model(case: Case, words: int, layers: int):
    return recurrent_lm(recurrent(case.cell, case.I, case.H, layers, dtype=case.dtype), words)


class Training:
    """A language model in training: parameters and states from one update to the next."""

    def __init__(self, setting: Setting):
        net = _model(setting.case, len(setting.params["bias_out"]), setting.layers)
        self.params = {name: array[None].copy() for name, array in setting.params.items()}  # updates are in place
        self.words, self.of = Words(setting.ids, setting.targets, fresh=False), gradients(net, [0])
        self.carried, self.slots, self.updates = (
            zero_states(net, 1, setting.case.B),
            optimise.start("sgd", self.params),
            0,
        )
        self.rate, self.bound, self.unlimited = (np.full(1, number) for number in (LEARNING_RATE, CLIP, np.inf))

    def gradients(self) -> dict:
        """Loss and the gradient of every parameter, without R; the states go on."""
        found = self.of(self.params, np.arange(1), self.words, self.updates, None, self.carried)
        self.carried = found.carried
        return {"loss": found.loss} | found.grads

    def update(self) -> None:
        """One whole update: forward, backward, clip, SGD."""
        grads = {name: gradient for name, gradient in self.gradients().items() if name != "loss"}
        factors = optimise.clip_factors(optimise.norms(grads), self.bound)
        self.updates += 1
        optimise.update("sgd", self.updates, self.params, grads, self.slots, self.rate, factors, self.unlimited)


def flops(setting: Setting) -> int:
    """Those of every layer, 6 T B G H (H + I), and 6 T B H V of the softmax."""
    case, words = setting.case, len(setting.params["bias_out"])
    above = (setting.layers - 1) * useful_flops(case._replace(I=case.H))
    return useful_flops(case) + above + 6 * case.T * case.B * case.H * words


def jobs(settings: Settings) -> list[Job]:
    """One job for each size, cell and dtype."""
    return jobs_of("language", settings, SIZES, run)


def run(case: Case, settings: Settings) -> Result:
    """Time the updates of one case."""
    setting, threads = setting_of(case, WORDS, LAYERS), settings.threads
    error = peers.error_of_language(setting, Training(setting))
    state = Training(setting)
    competitors = [ours.competitor(state.update, threads), *peers.language(setting, threads, (LEARNING_RATE, CLIP))]
    return Result(compare("language", case, settings, competitors, flops(setting), error), {})

"""What attention looks at, and how the gradient reaches the words of the source through it and through the states."""

import numpy as np

from recurlab.layers import softmax
from recurlab.models.pairs import Pairs, counted, within
from recurlab.models.translation import Translator, read
from recurlab.models.translation_gradients import back_through_encoder, back_to_encoder

WAYS = ("attention", "states")


def gradient_by_way(net: Translator, params: dict, pairs: Pairs, place: int) -> dict[str, np.ndarray]:
    """log₁₀ ‖d l_b / dx_s‖ of the loss l_b of the target word at `place`, by the way it takes: (R, Ts, B) each.

    x_s are the embeddings of the source. The gradient is the sum of both ways: "attention" leads to the outputs of the
    encoder and from there back through its steps, "states" through decoder and encoder from step to step, Ts - s +
    place of them. Without attention the first is -inf, log of 0; so are words behind the end of their row.
    """
    reading, targets = read(net, params, pairs), counted(pairs.target, pairs.target_lengths)
    at_place = np.nonzero(within(pairs.target_lengths))[0] == place
    given = params["weight_out"], params["bias_out"], reading.seen, targets, at_place.astype(float)
    d_seen = softmax.loss_and_gradients(*given).d_h * int(at_place.sum())  # the loss of each row, not their mean
    _, d_encoded, d_state = back_to_encoder(net, params, reading, pairs, d_seen)
    d_encoded = np.zeros_like(reading.encoded) if d_encoded is None else d_encoded
    ways = (back_through_encoder(net, params, reading, *way)[1] for way in ((d_encoded, None), (None, d_state)))
    with np.errstate(divide="ignore"):
        return {name: np.log10(np.linalg.norm(d_x, axis=-1)) for name, d_x in zip(WAYS, ways, strict=True)}


def alignment(weights: np.ndarray, places: np.ndarray) -> dict[str, np.ndarray]:
    """Weights (R, B, Tt, Ts) beside the source word that each target word comes from, places (Tt,); (R,) each.

    `aligned_weight` is the mean weight of that word, `aligned` the share of target words for which it is the largest,
    `near` the share for which the largest is at most one word away.
    """
    own = np.take_along_axis(weights, places[None, None, :, None], axis=3)[..., 0]
    away = np.abs(weights.argmax(axis=3) - places)
    found = {"aligned_weight": own, "aligned": away == 0, "near": away <= 1}
    return {name: values.mean(axis=(1, 2), dtype=float) for name, values in found.items()}

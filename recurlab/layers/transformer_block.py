"""A block of a causal Transformer with the norms in front, for R replicas: nn.TransformerEncoderLayer(norm_first=True).

    x ← x + self_attn(norm1(x)),    x ← x + linear2(relu(linear1(norm2(x))))

Vaswani et al. 2017, sec. 3.1, in the order of Xiong et al. 2020. Parameters with PyTorch's names: self_attn.… (see
`self_attention`), linear1.weight (R, F, E), linear2.weight (R, E, F) and their biases, norm1.… and norm2.… (R, E).
"""

from typing import NamedTuple

import numpy as np

from recurlab.layers import layer_norm, linear, self_attention


class Tape(NamedTuple):
    """What `backward` needs."""

    norms: tuple  # of norm1 and norm2
    attention: self_attention.Tape
    normal: np.ndarray  # (R, T·B, E), what linear1 saw
    hidden: np.ndarray  # (R, T·B, F), behind the relu
    masks: tuple  # factors of what the two branches add, (R, T or 1, B, E) each, or None


def parameter_shapes(size: int, hidden_size: int) -> dict[str, tuple[int, ...]]:
    """Name and shape of every parameter for E = size and F = hidden_size, without the replica axis."""
    shapes = {f"self_attn.{name}": shape for name, shape in self_attention.parameter_shapes(size).items()}
    for name, (inputs, outputs) in {"linear1": (size, hidden_size), "linear2": (hidden_size, size)}.items():
        shapes |= {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}
    norms = {f"{norm}.{name}": (size,) for norm in ("norm1", "norm2") for name in ("weight", "bias")}
    return shapes | norms


def forward(params: dict, x: np.ndarray, heads: int, masks=(None, None)) -> tuple[np.ndarray, Tape]:
    """x (R, T, B, E) -> the same shape, tape; `masks` multiply what each branch adds: dropout."""
    normal, first = layer_norm.forward(params["norm1.weight"], params["norm1.bias"], x)
    branch, attends = self_attention.forward(_attention(params), normal, heads)
    x = x + _multiplied(branch, masks[0])
    normal, second = layer_norm.forward(params["norm2.weight"], params["norm2.bias"], x)
    seen = normal.reshape(len(x), -1, x.shape[-1])
    hidden = np.maximum(linear.forward(params["linear1.weight"], params["linear1.bias"], seen), 0)
    branch = linear.forward(params["linear2.weight"], params["linear2.bias"], hidden).reshape(x.shape)
    return x + _multiplied(branch, masks[1]), Tape((first, second), attends, seen, hidden, tuple(masks))


def backward(params: dict, tape: Tape, dy: np.ndarray) -> tuple[dict, np.ndarray]:
    """dL/dy (R, T, B, E) -> gradients of the parameters, and dL/dx."""
    d_branch = _multiplied(dy, tape.masks[1]).reshape(tape.normal.shape)
    outer, d_hidden = linear.backward(params["linear2.weight"], tape.hidden, d_branch)
    inner, d_seen = linear.backward(params["linear1.weight"], tape.normal, d_hidden * (tape.hidden > 0))
    norm2, d_x = layer_norm.backward(params["norm2.weight"], tape.norms[1], d_seen.reshape(dy.shape))
    dy = dy + d_x
    attends, d_normal = self_attention.backward(_attention(params), tape.attention, _multiplied(dy, tape.masks[0]))
    norm1, d_x = layer_norm.backward(params["norm1.weight"], tape.norms[0], d_normal)
    parts = {"self_attn": attends, "linear1": inner, "linear2": outer, "norm1": norm1, "norm2": norm2}
    return {f"{part}.{name}": g for part, grads in parts.items() for name, g in grads.items()}, dy + d_x


def _attention(params: dict) -> dict:
    """The parameters of self-attention by their own names."""
    own = "self_attn."
    return {name.removeprefix(own): array for name, array in params.items() if name.startswith(own)}


def _multiplied(x: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
    return x if mask is None else x * mask

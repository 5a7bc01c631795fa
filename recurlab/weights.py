"""Initialisers: what a weight matrix is before training.

Every initialiser makes one (rows, columns) float64 matrix from an addressed stream; the layer's dtype is a rounding of
it, so that float32 and float64 networks of one seed are the same network. `gain` multiplies the whole matrix.
"""

import numpy as np

from recurlab.blas import on_one_thread
from recurlab.layers.checks import expect, expect_choice
from recurlab.layers.recurrent import Recurrent, expect_natural, parameter_shapes
from recurlab.random import Stream, normal, uniform


def gaussian(stream: Stream, rows: int, columns: int) -> np.ndarray:
    """W_ij ~ N(0, 1 / columns): by the circular law the eigenvalues fill the unit disc (Ginibre 1965)."""
    return normal(stream, (rows, columns)) / np.sqrt(columns)


def pytorch_uniform(stream: Stream, rows: int, columns: int) -> np.ndarray:
    """W_ij ~ U(-1/√rows, 1/√rows), PyTorch's default for recurrent layers; spectral radius about 1/√3 when square."""
    return (2 * uniform(stream, (rows, columns)) - 1) / np.sqrt(rows)


def glorot(stream: Stream, rows: int, columns: int) -> np.ndarray:
    """W_ij ~ U(-b, b), b = √(6 / (rows + columns)) (Glorot & Bengio 2010, eq. 16)."""
    return (2 * uniform(stream, (rows, columns)) - 1) * np.sqrt(6 / (rows + columns))


def orthogonal(stream: Stream, rows: int, columns: int) -> np.ndarray:
    """Haar-distributed orthonormal rows or columns: QR of a Gaussian, signs of R's diagonal fixed (Mezzadri 2007)."""
    long, short = max(rows, columns), min(rows, columns)
    q, r = np.linalg.qr(normal(stream, (long, short)))
    q = q * np.sign(np.diagonal(r))
    return q if rows >= columns else q.T


def identity(stream: Stream, rows: int, columns: int) -> np.ndarray:
    """The identity (Le, Jaitly & Hinton 2015); a gain makes it the scaled identity of that paper."""
    return np.eye(rows, columns)


def complex_gaussian(stream: Stream, rows: int, columns: int) -> np.ndarray:
    """The real form of a complex Ginibre matrix of half the size, E|Z_ij|² = 2 / columns (Kostlan: exact radius)."""
    return real_form(_complex_normal(stream, rows, columns) / np.sqrt(columns))


def unitary(stream: Stream, rows: int, columns: int) -> np.ndarray:
    """The real form of a Haar unitary matrix of half the size: eigenvalues on the unit circle, in conjugate pairs."""
    expect(rows == columns, "unitary", f"a {rows} × {columns} block", "a square one")
    q, r = np.linalg.qr(_complex_normal(stream, rows, columns))
    diagonal = np.diagonal(r)
    return real_form(q * (diagonal / np.abs(diagonal)))


def spectral_radius(stream: Stream, rows: int, columns: int) -> np.ndarray:
    """A Gaussian matrix divided by its own spectral radius, so that the gain is the radius exactly."""
    expect(rows == columns, "spectral_radius", f"a {rows} × {columns} block", "a square one")
    matrix = gaussian(stream, rows, columns)
    return matrix / np.abs(np.linalg.eigvals(matrix)).max()


CONNECTIONS = 15  # of every unit in `sparse`


def sparse(stream: Stream, rows: int, columns: int) -> np.ndarray:
    """15 Gaussian weights leave every unit, so 15 in a column; divided by its own spectral radius.

    At a gain of 0.95 this is "smart tanh" of Pascanu, Mikolov & Bengio 2013, fig. 7, as their code has it: the 15 stand
    in a row of W in h W; the text says incoming ones.
    """
    expect(rows == columns, "sparse", f"a {rows} × {columns} block", "a square one")
    chosen = np.argsort(uniform(stream._replace(purpose=f"{stream.purpose} support"), (rows, columns)), axis=0)
    matrix = gaussian(stream, rows, columns)
    np.put_along_axis(matrix, chosen[CONNECTIONS:], 0, axis=0)
    return matrix / np.abs(np.linalg.eigvals(matrix)).max()


def _complex_normal(stream, rows, columns) -> np.ndarray:
    """Complex normal entries with independent standard parts, (rows / 2, columns / 2)."""
    expect(
        rows % 2 == 0 and columns % 2 == 0,
        "hidden_size",
        f"a {rows} × {columns} block",
        "even sizes for a complex matrix",
    )
    parts = normal(stream, (2, rows // 2, columns // 2))
    return parts[0] + 1j * parts[1]


def real_form(matrix: np.ndarray) -> np.ndarray:
    """Z = A + iB as [[A, -B], [B, A]], (…, 2n, 2n): products agree, eigenvalues are those of Z and their conjugates."""
    return np.block([[matrix.real, -matrix.imag], [matrix.imag, matrix.real]])


INITS = {
    "gaussian": gaussian,
    "uniform": pytorch_uniform,
    "glorot": glorot,
    "orthogonal": orthogonal,
    "identity": identity,
    "unitary": unitary,
    "complex_gaussian": complex_gaussian,
    "spectral_radius": spectral_radius,
    "sparse": sparse,
}
# √(N · variance of an entry) at gain 1 of the random initialisers: the gain of the mean field and of the circular law.
# A matrix divided by its own radius has no fixed one.
ENTRY_GAIN = {"gaussian": 1.0, "glorot": 1.0, "orthogonal": 1.0, "unitary": 1.0, "complex_gaussian": 1.0}
ENTRY_GAIN |= {"uniform": 3**-0.5}
BIASES = ("zeros", "uniform")


@on_one_thread
def matrix(name: str, stream: Stream, rows: int, columns: int | None = None, gain: float = 1.0) -> np.ndarray:
    """One matrix of an initialiser, (rows, columns), square unless `columns` is given."""
    expect_choice("init", name, INITS)
    return gain * INITS[name](stream, rows, columns or rows)


def init(
    layer: Recurrent,
    seed=0,
    recurrent: str = "uniform",
    input: str = "uniform",
    gain=1.0,
    input_gain=1.0,
    bias: str = "zeros",
    forget_bias=None,
    chrono=None,
) -> dict[str, np.ndarray]:
    """Parameters of a layer: `recurrent` and `input` name the initialiser of each gate's block (see INITS).

    `bias="uniform"` is PyTorch's U(-1/√H, 1/√H) for both biases. `forget_bias` sets b_ih of the gate that keeps the
    state (f of the LSTM, z of the GRU), and its negative where only a gate that writes holds it (z of the minimal GRU).
    `chrono` = T_max draws that bias as ln u, u ~ U[1, T_max - 1], and gives the LSTM's input gate the opposite (Tallec
    & Ollivier 2018). `recurrent` and `gain` are for W_hh, where a cell has one. A sequence for seed, gain, input_gain,
    forget_bias or chrono gives a leading replica axis; a replica equals the network made from its own values alone.

    Raises ValueError for an unknown name, a gate bias on a cell without that gate, or T_max below 3.
    """
    expect_natural(layer)
    expect_choice("recurrent", recurrent, INITS)
    expect_choice("input", input, INITS)
    expect_choice("bias", bias, BIASES)
    settings = {"seed": seed, "gain": gain, "input_gain": input_gain, "forget_bias": forget_bias, "chrono": chrono}
    size = _common_shape(settings)
    _check_gate_bias(layer, forget_bias, chrono)
    values = [np.broadcast_to(np.asarray(value, object), size).ravel() for value in settings.values()]
    networks = [_network(layer, recurrent, input, bias, *one) for one in zip(*values, strict=True)]
    if not size:
        return networks[0]
    return {name: np.stack([network[name] for network in networks]) for name in networks[0]}


def ring(layer: Recurrent, seed=0, smallest=0.0, largest=1.0, phase=2 * np.pi) -> dict[str, np.ndarray]:
    """λ and γ of an LRU: |λ|² ~ U[smallest², largest²), arg λ ~ U[0, phase), γ = √(1 - |λ|²) (Orvieto et al. 2023).

    To put in place of what `init` gave, which is the ring from 0 to 1 from the same numbers. With this γ a white input
    of variance 1 gives every state variance 1. A sequence of seeds gives a leading R.
    """
    expect("lambda_re" in layer.spec.vectors, "layer", f"cell {layer.cell}", "a cell with λ and γ (lru)")
    expect(0 <= smallest < largest <= 1, "smallest, largest", f"{smallest}, {largest}", "0 ≤ smallest < largest ≤ 1")
    expect(0 < phase <= 2 * np.pi, "phase", phase, "0 < phase ≤ 2π")
    if np.shape(seed):
        networks = [ring(layer, one, smallest, largest, phase) for one in seed]
        return {name: np.stack([network[name] for network in networks]) for name in networks[0]}
    params = {}
    for _, _, suffix in layer.passes:
        names = [f"weight_{part}{suffix}" for part in ("lambda_re", "lambda_im", "gamma")]
        area, turn = (uniform(Stream(seed, f"init {name}"), (layer.hidden_size,)) for name in names[:2])
        square, angle = smallest**2 + (largest**2 - smallest**2) * area, phase * turn
        parts = np.sqrt(square) * np.cos(angle), np.sqrt(square) * np.sin(angle), np.sqrt(1 - square)
        params |= {name: array.astype(layer.dtype) for name, array in zip(names, parts, strict=True)}
    return params


def interval(name: str, seeds, shape: tuple[int, ...], half: float, dtype: str) -> np.ndarray:
    """U(-half, half) for a parameter outside of recurrent layers, (R, *shape): one array for each seed."""
    drawn = [uniform(Stream(int(seed), f"init {name}"), shape) for seed in seeds]
    return np.stack([half * (2 * own - 1) for own in drawn]).astype(dtype)


def _common_shape(settings: dict) -> tuple[int, ...]:
    """() or (R,), the replica axis of the settings together; seeds must be whole and everything else finite numbers."""
    for name, value in settings.items():
        array = np.asarray(0 if value is None else value)
        kinds, wanted = ("iu", "whole numbers") if name == "seed" else ("iuf", "finite numbers")
        expect(array.dtype.kind in kinds and np.all(np.isfinite(array)), name, value, wanted)
    sizes = sorted({np.shape(value) for value in settings.values()} - {(), (1,)})
    fits = len(sizes) <= 1 and all(len(size) == 1 and size[0] > 0 for size in sizes)
    expect(fits, ", ".join(settings), f"shapes {sizes}", "numbers or equally long sequences")
    return np.broadcast_shapes(*(np.shape(value) for value in settings.values()))


def _check_gate_bias(layer, forget_bias, chrono) -> None:
    """Only one of the two, and only for a cell with a gate that keeps the state."""
    expect(forget_bias is None or chrono is None, "forget_bias, chrono", "both", "one of them")
    expect(
        (forget_bias is None and chrono is None) or layer.spec.holds,
        "forget_bias, chrono",
        f"cell {layer.cell}",
        "a cell with a gate that keeps the state",
    )
    expect(chrono is None or np.min(chrono) >= 3, "chrono", chrono, "T_max ≥ 3")


def _network(layer, recurrent, input, bias, seed, gain, input_gain, forget_bias, chrono) -> dict[str, np.ndarray]:
    """The parameters of one replica, without a replica axis."""
    params = {}
    for name, shape in parameter_shapes(layer).items():
        if name.startswith("weight_hh"):
            value = _blocks(recurrent, seed, name, shape, layer.hidden_size, gain)
        elif name.startswith("weight_ih"):
            value = _blocks(input, seed, name, shape, layer.hidden_size, input_gain)
        elif name.startswith("weight_norm"):
            value = np.ones(shape)
        elif name.startswith("bias") and bias == "zeros":
            value = np.zeros(shape)
        else:  # biases and peepholes, as PyTorch draws its vectors
            value = (2 * uniform(Stream(seed, f"init {name}"), shape) - 1) / np.sqrt(layer.hidden_size)
        params[name] = value
    if layer.spec.initial_vectors:
        _set_vectors(layer, params, seed)
    _set_gate_bias(layer, params, seed, forget_bias, chrono)
    return {name: value.astype(layer.dtype) for name, value in params.items()}


def _blocks(init_name, seed, name, shape, hidden, gain) -> np.ndarray:
    """A (G·H, n) matrix with one drawn block for each gate."""
    gates = range(shape[0] // hidden)
    blocks = [matrix(init_name, Stream(seed, f"init {name}", step=g), hidden, shape[1], gain) for g in gates]
    return np.concatenate(blocks)


def _set_vectors(layer, params, seed) -> None:
    """The vectors as the cell makes them from the uniform numbers at their addresses."""
    for _, _, suffix in layer.passes:
        names = [f"weight_{vector}{suffix}" for vector in layer.spec.vectors]
        uniforms = tuple(uniform(Stream(seed, f"init {name}"), (layer.hidden_size,)) for name in names)
        params |= zip(names, layer.spec.initial_vectors(uniforms), strict=True)


def _set_gate_bias(layer, params, seed, forget_bias, chrono) -> None:
    """Put the forget bias or the chrono biases into b_ih and clear b_hh of the gates concerned."""
    if forget_bias is None and chrono is None:
        return
    cell, hidden = layer.spec, layer.hidden_size
    for _, _, suffix in layer.passes:
        bias = forget_bias
        if chrono is not None:
            bias = np.log(1 + (chrono - 2) * uniform(Stream(seed, f"init chrono{suffix}"), (hidden,)))
        gates = list(cell.holds.items())
        for gate, sign in gates if chrono is not None else gates[:1]:
            rows = slice(cell.gates.index(gate) * hidden, (cell.gates.index(gate) + 1) * hidden)
            params[f"bias_ih{suffix}"][rows] = sign * bias
            if cell.recurrent_matrix:
                params[f"bias_hh{suffix}"][rows] = 0

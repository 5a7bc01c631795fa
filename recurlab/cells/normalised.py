"""Cells with layer normalisation inside the recurrence: the maths of the cell itself is unchanged."""

from recurlab.cells.cell import Cell
from recurlab.cells.gru import GRU
from recurlab.cells.lstm import LSTM
from recurlab.cells.rnn import RNN_LINEAR, RNN_RELU, RNN_TANH


def normalised(cell: Cell) -> Cell:
    """The cell with every pre-activation s, without bias, as g (s - mean s) / √(var s + 1e-5) + b over its units.

    Their LSTM in the supplement has both products normalised by themselves, and c as well; here it is eq. 4 for every
    gate, and the GRU's n has its two parts by themselves because the reset gate stands between them.
    """
    says = f"{cell.equation}; every a = g LN(W_ih x + W_hh h) + b_ih + b_hh"
    source = f"Ba, Kiros & Hinton 2016, eq. 4, for every gate of {cell.name} by itself"
    return cell._replace(name=f"{cell.name}_norm", equation=says, source=source, norm=True)


RNN_TANH_NORM = normalised(RNN_TANH)
RNN_RELU_NORM = normalised(RNN_RELU)
RNN_LINEAR_NORM = normalised(RNN_LINEAR)
LSTM_NORM = normalised(LSTM)
GRU_NORM = normalised(GRU)

"""Recurrent cells: what one step computes. A new cell is one file (or a variant in a file) and one line in CELLS."""

from recurlab.cells.cell import Cell
from recurlab.cells.gru import GRU, GRU_RESET_BEFORE
from recurlab.cells.lstm import LSTM, LSTM_PEEPHOLE
from recurlab.cells.rnn import RNN_LINEAR, RNN_RELU, RNN_SIGMOID, RNN_TANH

CELLS: dict[str, Cell] = {
    "rnn_tanh": RNN_TANH,
    "rnn_relu": RNN_RELU,
    "rnn_sigmoid": RNN_SIGMOID,
    "rnn_linear": RNN_LINEAR,
    "lstm": LSTM,
    "lstm_peephole": LSTM_PEEPHOLE,
    "gru": GRU,
    "gru_reset_before": GRU_RESET_BEFORE,
}

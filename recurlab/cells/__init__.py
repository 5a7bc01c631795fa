"""Recurrent cells: what one step computes. A new cell is one file (or a variant in a file) and one line in CELLS."""

from recurlab.cells.antisymmetric import RNN_ANTISYMMETRIC, RNN_ANTISYMMETRIC_GATED
from recurlab.cells.cell import Cell
from recurlab.cells.gru import GRU, GRU_RESET_BEFORE
from recurlab.cells.indrnn import INDRNN
from recurlab.cells.lru import LRU
from recurlab.cells.lstm import LSTM, LSTM_PEEPHOLE
from recurlab.cells.lstm_variants import (
    LSTM_COUPLED,
    LSTM_NO_FORGET_GATE,
    LSTM_NO_INPUT_ACTIVATION,
    LSTM_NO_INPUT_GATE,
    LSTM_NO_OUTPUT_ACTIVATION,
    LSTM_NO_OUTPUT_GATE,
)
from recurlab.cells.mgu import MGU
from recurlab.cells.minimal import MIN_GRU, MIN_LSTM
from recurlab.cells.normalised import GRU_NORM, LSTM_NORM, RNN_LINEAR_NORM, RNN_RELU_NORM, RNN_TANH_NORM
from recurlab.cells.rnn import RNN_LINEAR, RNN_RELU, RNN_SIGMOID, RNN_TANH
from recurlab.cells.ugrnn import UGRNN

CELLS: dict[str, Cell] = {
    "rnn_tanh": RNN_TANH,
    "rnn_relu": RNN_RELU,
    "rnn_sigmoid": RNN_SIGMOID,
    "rnn_linear": RNN_LINEAR,
    "rnn_antisymmetric": RNN_ANTISYMMETRIC,
    "rnn_antisymmetric_gated": RNN_ANTISYMMETRIC_GATED,
    "lstm": LSTM,
    "lstm_peephole": LSTM_PEEPHOLE,
    "lstm_no_input_gate": LSTM_NO_INPUT_GATE,
    "lstm_no_forget_gate": LSTM_NO_FORGET_GATE,
    "lstm_no_output_gate": LSTM_NO_OUTPUT_GATE,
    "lstm_no_input_activation": LSTM_NO_INPUT_ACTIVATION,
    "lstm_no_output_activation": LSTM_NO_OUTPUT_ACTIVATION,
    "lstm_coupled": LSTM_COUPLED,
    "gru": GRU,
    "gru_reset_before": GRU_RESET_BEFORE,
    "mgu": MGU,
    "ugrnn": UGRNN,
    "indrnn": INDRNN,
    "min_gru": MIN_GRU,
    "min_lstm": MIN_LSTM,
    "lru": LRU,
    "rnn_tanh_norm": RNN_TANH_NORM,
    "rnn_relu_norm": RNN_RELU_NORM,
    "rnn_linear_norm": RNN_LINEAR_NORM,
    "lstm_norm": LSTM_NORM,
    "gru_norm": GRU_NORM,
}

"""Measures: arrays in, numbers out."""

from recurlab.measures.inspect import inspect_weights

__all__ = ["inspect_weights"]

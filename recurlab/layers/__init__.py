"""Layers: forward and backward in pairs, NumPy arrays in and out."""

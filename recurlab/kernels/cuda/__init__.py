"""The kernels of a GPU: the cells' own functions, bound to a thread instead of a vector."""

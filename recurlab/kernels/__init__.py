"""How a cell is computed: one module for each device, bound to the cells by `rebind`."""

DEVICES = ("cpu", "cuda", "cuda_fast")  # the last with the GPU's approximate tanh, exp and division

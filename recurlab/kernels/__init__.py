"""How a cell is computed: one module for each device, bound to the cells by `rebind`."""

DEVICES = ("cpu",)

"""Flush-to-zero as a switch that is always put back.

Vanishing gradients become denormal numbers, and those cost 13–15 times as much per operation on x86 (measured: plain
RNN, T = 400). Training does not need them; a measurement of tiny gradients does, so they are kept unless asked.
"""

import platform

from llvmlite import ir
from numba import config, types
from numba.core import cgutils
from numba.extending import intrinsic

from recurlab.kernels.disk import kept

FLUSH_AND_TREAT_AS_ZERO = 0x8040  # bits 15 (FTZ) and 6 (DAZ) of the MXCSR register
SUPPORTED = platform.machine() in ("x86_64", "AMD64") and not config.DISABLE_JIT
_WORD, _BYTES = ir.IntType(32), ir.IntType(8).as_pointer()


def _call(builder, name, pointer):
    kind = ir.FunctionType(ir.VoidType(), [_BYTES])
    builder.call(cgutils.get_or_insert_function(builder.module, kind, name), [builder.bitcast(pointer, _BYTES)])


@intrinsic
def _read_mxcsr(typing_context):
    def generate(context, builder, signature, args):
        word = cgutils.alloca_once(builder, _WORD)
        _call(builder, "llvm.x86.sse.stmxcsr", word)
        return builder.load(word)

    return types.uint32(), generate


@intrinsic
def _write_mxcsr(typing_context, value):
    def generate(context, builder, signature, args):
        word = cgutils.alloca_once(builder, _WORD)
        builder.store(args[0], word)
        _call(builder, "llvm.x86.sse.ldmxcsr", word)
        return context.get_dummy_value()

    return types.void(types.uint32), generate


@kept()
def read_state():
    """The floating-point control and status word of this thread."""
    return _read_mxcsr()


@kept()
def write_state(word):
    """Set that word."""
    _write_mxcsr(types.uint32(word))


def _flush(on):
    before = _read_mxcsr()
    if on:
        _write_mxcsr(before | types.uint32(FLUSH_AND_TREAT_AS_ZERO))
    return before


def _restore(before):
    _write_mxcsr(before)


def _keep(on):
    return on


def _nothing(before):
    pass


# For compiled code: flush(on) flushes this thread's denormals if `on` and returns what restore(before) puts back.
flush, restore = (_flush, _restore) if SUPPORTED else (_keep, _nothing)


def check_supported(wanted: bool) -> None:
    """Raise ValueError where denormals cannot be flushed."""
    if wanted and not SUPPORTED:
        raise ValueError(f"flush_denormals: only x86-64 is supported, this machine is {platform.machine()}")

"""Ask the processor for memory before it is needed: rows drawn at random lie where no hardware expects the next."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

READ, KEEP, DATA = 0, 3, 1
"""Arguments of LLVM's ``llvm.prefetch``: to be read, into every cache, no code."""


@intrinsic
def prefetch(_context: Any, array: Any, place: Any) -> Any:
    """Ask for the cache line that an element of an array lies in; a hint, which neither waits nor fails."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        values = context.make_array(signature.args[0])(context, builder, arguments[0])
        address = builder.bitcast(builder.gep(values.data, [arguments[1]]), ir.IntType(8).as_pointer())
        number = ir.IntType(32)
        form = ir.FunctionType(ir.VoidType(), [address.type, number, number, number])
        hint = builder.module.declare_intrinsic("llvm.prefetch", [address.type], fnty=form)
        builder.call(hint, [address, number(READ), number(KEEP), number(DATA)])
        return context.get_dummy_value()

    return types.void(array, types.intp), generate

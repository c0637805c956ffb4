"""What machine has and Python has not: bytes at an address, products of 128 bits, counts of zeros."""

from functools import cache
from pathlib import Path

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from detector.compiled import cached, code_folder, inlined

__all__ = [
    "as_double",
    "byte",
    "cell",
    "entry",
    "high_product",
    "leading_zeros",
    "part",
    "put",
    "put_bits",
    "put_float",
    "trailing_zeros",
    "word",
]

part = inlined
"""Compiles a function as a part of what calls it."""


@cache
def _folder() -> Path | None:
    return code_folder("scanner", Path(__file__).parent.parent, (Path(__file__).parent.name,))


def entry(function):
    """Compile what Python calls, with all its parts; keep the machine code for the next process."""
    return cached(function, _folder())


@intrinsic
def word(typingctx, at):  # noqa: ARG001
    """Return the eight bytes at an address, the first one in the lowest bits."""

    def codegen(context, builder, signature, args):  # noqa: ARG001
        value = builder.load(builder.inttoptr(args[0], ir.IntType(64).as_pointer()))
        value.align = 1
        return value

    return types.uint64(types.int64), codegen


@intrinsic
def byte(typingctx, at):  # noqa: ARG001
    """Return the byte at an address as a signed number, 0 to 255."""

    def codegen(context, builder, signature, args):  # noqa: ARG001
        pointer = builder.inttoptr(args[0], ir.IntType(8).as_pointer())
        return builder.zext(builder.load(pointer), ir.IntType(64))

    return types.int64(types.int64), codegen


@intrinsic
def high_product(typingctx, a, b):  # noqa: ARG001
    """Return the upper 64 bits of a product."""

    def codegen(context, builder, signature, args):  # noqa: ARG001
        wide = ir.IntType(128)
        product = builder.mul(builder.zext(args[0], wide), builder.zext(args[1], wide))
        return builder.trunc(builder.lshr(product, ir.Constant(wide, 64)), ir.IntType(64))

    return types.uint64(types.uint64, types.uint64), codegen


@intrinsic
def leading_zeros(typingctx, a):  # noqa: ARG001
    """Return how many bits of a number that is not 0 are above its highest one."""

    def codegen(context, builder, signature, args):  # noqa: ARG001
        return builder.ctlz(args[0], ir.Constant(ir.IntType(1), 0))

    return types.uint64(types.uint64), codegen


@intrinsic
def trailing_zeros(typingctx, a):  # noqa: ARG001
    """Return how many bits of a number that is not 0 are below its lowest one."""

    def codegen(context, builder, signature, args):  # noqa: ARG001
        return builder.cttz(args[0], ir.Constant(ir.IntType(1), 0))

    return types.int64(types.uint64), codegen


@intrinsic
def as_double(typingctx, a):  # noqa: ARG001
    """Return the number whose IEEE 754 bits these are."""

    def codegen(context, builder, signature, args):  # noqa: ARG001
        return builder.bitcast(args[0], ir.DoubleType())

    return types.float64(types.uint64), codegen


@intrinsic
def cell(typingctx, row, column):  # noqa: ARG001
    """Return the number in a column of the row of whole numbers at an address."""

    def codegen(context, builder, signature, args):  # noqa: ARG001
        return builder.load(_place(builder, args[0], args[1], ir.IntType(64)))

    return types.int64(types.int64, types.int64), codegen


@intrinsic
def put(typingctx, row, column, value):  # noqa: ARG001
    """Write a whole number into a column of the row at an address."""

    def codegen(context, builder, signature, args):  # noqa: ARG001
        builder.store(args[2], _place(builder, args[0], args[1], ir.IntType(64)))
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), codegen


@intrinsic
def put_float(typingctx, row, column, value):  # noqa: ARG001
    """Write a number as float32 into a column of the row at an address."""

    def codegen(context, builder, signature, args):  # noqa: ARG001
        single = builder.fptrunc(args[2], ir.FloatType())
        builder.store(single, _place(builder, args[0], args[1], ir.FloatType()))
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.float64), codegen


@intrinsic
def put_bits(typingctx, row, column, bits):  # noqa: ARG001
    """Write 32 bits into a column of the row of float32 at an address."""

    def codegen(context, builder, signature, args):  # noqa: ARG001
        builder.store(args[2], _place(builder, args[0], args[1], ir.IntType(32)))
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.uint32), codegen


def _place(builder, row, column, kind):
    return builder.gep(builder.inttoptr(row, kind.as_pointer()), [column])

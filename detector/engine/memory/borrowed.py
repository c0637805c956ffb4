"""Borrowed arrays: views of them need no reference counting.

Compiled code counts a reference up and down for each view of an array, because the view might outlast the array. The memory
takes dozens of views per query, and counting them takes longer than most tests of the query. The caller of a kernel holds its
arrays until the kernel returns, so the counting is not needed.
"""

from numba.core import cgutils, types
from numba.extending import intrinsic


@intrinsic
def borrowed(_, group):
    """Return a tuple of arrays and numbers whose arrays have no owner, so that no references to them are counted.

    Only for tuples that the kernel was called with: an array that the kernel made itself would be freed while in use.
    """

    def generate(context, builder, signature, arguments):  # noqa: ANN202  # of numba
        (kind,), (value,) = signature.args, arguments
        for place, member in enumerate(kind.types):
            if isinstance(member, types.Array):
                array = context.make_array(member)(context, builder, builder.extract_value(value, place))
                array.meminfo = cgutils.get_null_value(array.meminfo.type)
                value = builder.insert_value(value, array._getvalue(), place)  # noqa: SLF001  # numba's own way to build one
        return value

    return group(group), generate

"""Blocks: the query is an earlier picture in which a JPEG changed one block a little; evidence of the channel `probe`.

A probe moves one value by a few grey levels. In a picture that is sent as a JPEG that value does not arrive: the block of 8x8
pixels around it is rounded anew, and either nothing changes or a few of the block's coefficients take their next step. All
other blocks arrive as they were, to the bit. So an estimate of a gradient (finite differences, and ZOO; Chen et al., AISec
2017) leaves a star: several pictures, each of which differs from one in the middle in a single block, in different blocks, and
by less than a JPEG moves a picture anyway.

Innocent pictures do not: the noise of a sensor, a move, and a change of intensity change all blocks. What people draw, hide or
exchange changes one block, but by far more. A flicker so faint that most blocks stay as they are changes two of them nearly as
often as one, and a slider that moves a plain picture changes ever more of them. So no near picture may differ from the middle
in several blocks by little. A line that grows over a bright picture changes one block at a time, too, but of one picture the
next are ahead in one block and those before are behind in another. So a star needs three.

The memory samples some of the values, and a block is seen through those that lie in it. A change in a block of few sampled
values may be missed.

Blind to: pictures of so many blocks that few sampled values lie in each (`LEAST_SAMPLED`), pictures of one block, random
directions (those move all blocks), and values that are moved by 5% of their range or more.
"""

import numpy as np

from detector.engine.kernels import kernel

LEAST_SAMPLED = 4.0  # least number of sampled values in a block, on average: of fewer, changes of a block are often missed
LITTLE = 1.0 / 12.0  # largest square of a change, in the square that a JPEG adds to a difference: some coefficients by one step
SIBLINGS = 3  # least number of other pictures of a star
LEAST_BLOCKS = 3  # least number of blocks in which the pictures of a star differ from its middle; a growing line has two ends


@kernel
def is_one_block(start, values, blocks):
    """Tell whether all of the sampled `values` (samples,) that differ from `start` lie in one of the `blocks`, and any does."""
    block = -1
    for j in range(blocks.shape[0]):
        if start[j] != values[j]:
            if block >= 0 and blocks[j] != block:
                return False
            block = blocks[j]
    return block >= 0


@kernel
def changed_blocks(start, values, blocks, little):
    """Return the blocks that differ between two pictures, as bits, if they differ by little; 0 if not, and if none differs.

    `start` and `values` (samples,) are sampled values and `blocks` (samples,) the numbers of their blocks. `little` is the
    largest mean square of the changes in those blocks.
    """
    changed = np.int64(0)
    for j in range(blocks.shape[0]):
        if start[j] != values[j]:
            changed |= np.int64(1) << np.int64(blocks[j])
    square = 0.0
    seen = 0
    for j in range(blocks.shape[0]):
        if changed >> np.int64(blocks[j]) & 1:
            change = np.float64(values[j]) - np.float64(start[j])
            square += change * change
            seen += 1
    return changed if square <= little * seen else np.int64(0)


@kernel
def is_star(c, near, middle, own, blocks, little):
    """Tell whether the retained pictures `near` (n,) are a star about that at `middle`, from which the query differs in `own`.

    `c` (places, samples) are the client's sampled values; `own` is a block, as a bit. For the others see `changed_blocks`.
    """
    alike = 0
    union = own
    for place in near:
        if place == middle:
            continue
        changed = changed_blocks(c[middle], c[place], blocks, little)
        if changed == 0:
            continue
        if changed & (changed - 1):
            return False
        alike += 1
        union |= changed
    for _ in range(LEAST_BLOCKS - 1):
        union &= union - 1
    return alike >= SIBLINGS and union != 0


@kernel
def probed_in_block(values, c, near, newest, blocks, noise):
    """Return the place of the retained picture that is the middle of a star to which the query belongs, -1 if there is none.

    It is one of the nearest, `near` (n,), or the `newest`. `values` (samples,) are the sampled values of the query, and `c`
    (places, samples) the client's. `noise` is the expected square that a JPEG adds to the difference of two values.
    """
    little = LITTLE * noise
    for turn in range(near.shape[0] + 1):
        middle = newest if turn == near.shape[0] else near[turn]
        if not is_one_block(c[middle], values, blocks):
            continue
        own = changed_blocks(c[middle], values, blocks, little)
        if own != 0 and is_star(c, near, middle, own, blocks, little):
            return middle
    return -1

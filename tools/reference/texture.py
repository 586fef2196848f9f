"""Pictures and numbers that Python and Rust make alike, so that fixtures need hold only what is computed from them."""

import numpy as np


def linear_congruential(count: int, seed: int) -> np.ndarray:
    """`count` states of the generator x -> 1664525 x + 1013904223 (mod 2^32), the seed left out."""
    states = np.empty(count, dtype=np.uint32)
    state = seed
    for position in range(count):
        state = (state * 1664525 + 1013904223) & 0xFFFFFFFF
        states[position] = state
    return states


def texture(width: int, height: int, seed: int = 1) -> np.ndarray:
    """Ramps, rings and noise: u8, [height, width, 3]."""
    y, x, channel = np.meshgrid(np.arange(height), np.arange(width), np.arange(3), indexing="ij")
    ramp = (x * (5 + channel) + y * 3) % 256
    rings = ((x * x + y * y * (channel + 1)) // 16) % 256
    noise = (linear_congruential(width * height * 3, seed) >> 24).reshape(height, width, 3)
    return ((2 * ramp + rings + noise) // 4).astype(np.uint8)

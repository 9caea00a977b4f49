"""Scaled dot-product attention of four words: step by step, and by one call.

python attention.py                 with dotk (and torch, for its tensors)
python attention.py --with torch    with torch: the same numbers
"""

import math
import sys

import torch

if sys.argv[1:] == ["--with", "torch"]:
    from torch.nn.functional import scaled_dot_product_attention
else:
    from dotk.compat.torch import scaled_dot_product_attention

words = ["the", "cat", "sat", "down"]
generator = torch.Generator().manual_seed(1)
query, key, value = (torch.randn(4, 8, generator=generator) for _ in range(3))

scores = query @ key.T / math.sqrt(query.shape[-1])
weights = scores.softmax(dim=-1)
by_hand = weights @ value
for word, row in zip(words, weights):
    shares = ", ".join(f"{other} {100 * share:.1f} %" for other, share in zip(words, row))
    print(f"{word} looks at {shares}")

by_call = scaled_dot_product_attention(query, key, value)
print("by hand:", " ".join(f"{x:.4f}" for x in by_hand[1]))
print("by call:", " ".join(f"{x:.4f}" for x in by_call[1]))
assert torch.allclose(by_hand, by_call, atol=1e-5)

# A word of a text that is being written sees only itself and those before it.
before = scaled_dot_product_attention(query, key, value, is_causal=True)
print("causal: ", " ".join(f"{x:.4f}" for x in before[1]))
assert torch.allclose(before[0], value[0]) and torch.allclose(before[3], by_call[3], atol=1e-5)

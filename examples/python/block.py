"""A self-attention block of a transformer: 512 wide, 8 heads, forward and backward.

python block.py                 with dotk (and torch, for everything else)
python block.py --with torch    with torch: the same numbers
"""

import sys

import torch

if sys.argv[1:] == ["--with", "torch"]:
    from torch.nn import MultiheadAttention
else:
    from dotk.compat.torch import MultiheadAttention


class Block(torch.nn.Module):
    """x + attention(norm(x)), as in most models since GPT-2."""

    def __init__(self, width, heads):
        super().__init__()
        self.norm = torch.nn.LayerNorm(width)
        self.attention = MultiheadAttention(width, heads, batch_first=True)

    def forward(self, x, **options):
        y = self.norm(x)
        out, weights = self.attention(y, y, y, **options)
        return x + out, weights


torch.manual_seed(1)
block = Block(512, 8)
x = torch.randn(2, 16, 512)

out, weights = block(x)
print("out", tuple(out.shape), "weights", tuple(weights.shape))
print("first row:", " ".join(f"{number:.4f}" for number in out[0, 0, :6]))
print("its weights:", " ".join(f"{number:.4f}" for number in weights[0, 0, :6]))

hidden = torch.triu(torch.ones(16, 16, dtype=torch.bool), diagonal=1)
causal, _ = block(x, attn_mask=hidden, need_weights=False)
print("causal, last row:", " ".join(f"{number:.4f}" for number in causal[0, 15, :6]))

loss = causal.square().mean()
loss.backward()
length = block.attention.in_proj_weight.grad.norm()
print(f"loss {loss.item():.4f}, gradient of the projections {length.item():.4f} long")

"""softmax(q k^T) v by PyTorch's scaled_dot_product_attention, which on a GPU is FlashAttention for bf16 and f16: a peer of bench/gpu.ts.

    python attention.py --shape 8x6x257x64 --dtype bf16 --device cuda --backward 1

The shape is IMAGESxHEADSxTOKENSxWIDTH. Float32 is float32 (no tf32). A run is 20 of them, of which the time is one's share; with --backward 1 the time is
that of the gradients alone: what is kept for them is made once. Timed by protocol.py.
"""
import argparse

import torch
import torch.nn.functional as F

from protocol import serve

p = argparse.ArgumentParser()
p.add_argument('--shape', default='8x6x257x64')
p.add_argument('--dtype', default='bf16', choices=['f32', 'bf16', 'f16'])
p.add_argument('--device', default='cpu')
p.add_argument('--backward', type=int, default=0)
cfg = p.parse_args()
torch.backends.cuda.matmul.allow_tf32 = False
dtype = {'f32': torch.float32, 'bf16': torch.bfloat16, 'f16': torch.float16}[cfg.dtype]
shape = tuple(map(int, cfg.shape.split('x')))
q, k, v, grad = (torch.randn(shape, device=cfg.device).to(dtype) for _ in range(4))
times = 20

if cfg.backward:
    rows = [x.requires_grad_() for x in (q, k, v)]
    out = F.scaled_dot_product_attention(q, k, v)
    one = lambda: torch.autograd.grad(out, rows, grad, retain_graph=True)
else:
    one = lambda: F.scaled_dot_product_attention(q, k, v)


def once():
    for _ in range(times):
        one()
    if cfg.device == 'cuda':
        torch.cuda.synchronize()


serve(once, times)

"""One product x W^T by PyTorch, which on a GPU is cuBLAS: a peer of bench/gpu.ts.

    python gemm.py --shape 2056x1536x384 --dtype bf16 --device cuda

Float32 is float32 (no tf32). A run is 20 products, of which the time is one's share, so that starting one does not count. Timed by protocol.py.
"""
import argparse

import torch

from protocol import serve

p = argparse.ArgumentParser()
p.add_argument('--shape', default='2056x1536x384')
p.add_argument('--dtype', default='f32', choices=['f32', 'bf16', 'f16'])
p.add_argument('--device', default='cpu')
cfg = p.parse_args()
torch.backends.cuda.matmul.allow_tf32 = False
m, n, k = map(int, cfg.shape.split('x'))
dtype = {'f32': torch.float32, 'bf16': torch.bfloat16, 'f16': torch.float16}[cfg.dtype]
x, w = (torch.randn(rows, k, device=cfg.device).to(dtype) for rows in (m, n))
times = 20


def once():
    for _ in range(times):
        x @ w.T
    if cfg.device == 'cuda':
        torch.cuda.synchronize()


serve(once, times)

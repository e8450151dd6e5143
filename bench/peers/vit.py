"""The forward pass of a DINOv2 backbone in other systems: the peers of bench/forward.ts.

    python vit.py --mode bf16 --width 384 --depth 12 --heads 6 --batch 8 --size 224 --threads 2

Modes: `eager`, `compiled` (torch.compile), `bf16` and `bf16-compiled` (autocast), `onnx` (ONNX Runtime on
what torch.onnx exports) and `jax` (jit). Weights are random; results are those of a ViT with LayerScale, positions of the image's own
grid and no registers, class token and patches normalised. `--device cuda` runs
PyTorch's on a GPU, float32 without tf32. Timed by protocol.py; needs torch, and onnxruntime with onnxscript, or jax.
"""
import argparse
import os
import tempfile

p = argparse.ArgumentParser()
for name, value in dict(mode='eager', width=384, depth=12, heads=6, patch=14, batch=8, size=224, threads=2, device='cpu').items():
    p.add_argument('--' + name, type=type(value), default=value)
cfg = p.parse_args()
for name in ('OMP_NUM_THREADS', 'MKL_NUM_THREADS'):
    os.environ[name] = str(cfg.threads)

import numpy as np

from protocol import serve

tokens = 1 + (cfg.size // cfg.patch) ** 2


def torch_model():
    import torch
    from dinov2_torch import Block
    from torch import nn

    torch.set_num_threads(cfg.threads)
    torch.manual_seed(0)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False

    class Backbone(nn.Module):
        def __init__(self):
            super().__init__()
            self.patches = nn.Conv2d(3, cfg.width, cfg.patch, cfg.patch)
            self.cls = nn.Parameter(torch.zeros(1, 1, cfg.width))
            self.positions = nn.Parameter(0.02 * torch.randn(1, tokens, cfg.width))
            self.blocks = nn.ModuleList(Block(cfg.width, cfg.heads, 4, 1.0) for _ in range(cfg.depth))
            self.norm = nn.LayerNorm(cfg.width, eps=1e-6)

        def forward(self, x):
            x = self.patches(x).flatten(2).transpose(1, 2)
            x = torch.cat([self.cls.expand(x.shape[0], -1, -1), x], 1) + self.positions
            for block in self.blocks:
                x = block(x)
            x = self.norm(x)
            return x[:, 0], x[:, 1:]

    return torch, Backbone().eval().to(cfg.device), torch.randn(cfg.batch, 3, cfg.size, cfg.size, device=cfg.device)


def torch_once(low, compiled):
    torch, model, x = torch_model()
    f = torch.compile(model) if compiled else model

    def once():
        with torch.no_grad(), torch.autocast(cfg.device, dtype=torch.bfloat16, enabled=low):
            f(x)
        if cfg.device == 'cuda':
            torch.cuda.synchronize()

    return once


def onnx_once():
    import onnxruntime

    torch, model, x = torch_model()
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, 'vit.onnx')
        with torch.no_grad():
            torch.onnx.export(model, (x,), path, input_names=['x'], dynamo=True, verbose=False)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = cfg.threads
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(path, options, providers=['CPUExecutionProvider'])
    feed = {'x': x.numpy()}
    return lambda: session.run(None, feed)


def jax_once():
    import jax
    import jax.numpy as jnp

    d, h, rng = cfg.width, cfg.heads, np.random.default_rng(0)
    matrix = lambda o, i: jnp.asarray(rng.normal(size=(o, i)).astype(np.float32) / np.sqrt(i))
    one, zero = jnp.ones(d), jnp.zeros(d)
    block = lambda: {
        'n1': (one, zero), 'qkv': (matrix(3 * d, d), jnp.zeros(3 * d)), 'proj': (matrix(d, d), zero), 'g1': one,
        'n2': (one, zero), 'fc1': (matrix(4 * d, d), jnp.zeros(4 * d)), 'fc2': (matrix(d, 4 * d), zero), 'g2': one}
    params = {'embed': (matrix(d, 3 * cfg.patch**2), zero), 'cls': jnp.zeros((1, 1, d)), 'positions': jnp.zeros((1, tokens, d)),
              'blocks': [block() for _ in range(cfg.depth)], 'norm': (one, zero)}

    def norm(x, w, b):
        centered = x - x.mean(-1, keepdims=True)
        return centered * jax.lax.rsqrt((centered**2).mean(-1, keepdims=True) + 1e-6) * w + b

    linear = lambda x, w, b: x @ w.T + b

    def forward(p, x):
        b, g, s = x.shape[0], cfg.size // cfg.patch, cfg.patch
        x = x.reshape(b, 3, g, s, g, s).transpose(0, 2, 4, 1, 3, 5).reshape(b, g * g, -1)
        x = jnp.concatenate([jnp.broadcast_to(p['cls'], (b, 1, d)), linear(x, *p['embed'])], 1) + p['positions']
        for l in p['blocks']:
            q, k, v = linear(norm(x, *l['n1']), *l['qkv']).reshape(b, tokens, 3, h, d // h).transpose(2, 0, 1, 3, 4)
            x = x + linear(jax.nn.dot_product_attention(q, k, v).reshape(b, tokens, d), *l['proj']) * l['g1']
            x = x + linear(jax.nn.gelu(linear(norm(x, *l['n2']), *l['fc1']), approximate=False), *l['fc2']) * l['g2']
        x = norm(x, *p['norm'])
        return x[:, 0], x[:, 1:]

    f, x = jax.jit(forward), jnp.asarray(rng.normal(size=(cfg.batch, 3, cfg.size, cfg.size)).astype(np.float32))
    return lambda: jax.block_until_ready(f(params, x))


modes = {
    'eager': lambda: torch_once(False, False),
    'compiled': lambda: torch_once(False, True),
    'bf16': lambda: torch_once(True, False),
    'bf16-compiled': lambda: torch_once(True, True),
    'onnx': onnx_once,
    'jax': jax_once,
}
serve(modes[cfg.mode]())

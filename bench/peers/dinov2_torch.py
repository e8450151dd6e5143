"""DINOv2's training step in plain PyTorch: the peer that Fovea's own step is measured against.

Everything that changes the arithmetic of the step is here: student and teacher ViT with LayerScale, masked global crops,
local crops, the DINO, iBOT and KoLeo terms, Sinkhorn-Knopp targets, a projection head with weight normalisation (one, or one for each of
DINO and iBOT with --separate 1), bf16 autocast of backbones and heads with --bf16 1,
AdamW without weight decay on biases, norms and gammas, clipping per sub-network, the EMA teacher and the schedules. What is
not here: stochastic depth, registers and distribution. Images are Fashion-MNIST, read from the files of
../../data, so that both programs see the same pictures; the augmentation is the same family, drawn from another generator.

    python dinov2_torch.py --seed 0
    16.1 GFLOP a step, 6.43 TFLOP in all; k-NN before {'cls': 63.0, 'mean': 61.2, 'both': 63.4}
    ...                                   k-NN after  {'cls': 71.2, 'mean': 64.1, 'both': 71.8}

With --time 1 nothing is learned and no image is read: steps are timed by protocol.py, on noise, for bench/step.ts; with --device cuda on a GPU, float32 without
tf32.

The defaults are the demo's recipe; its weights start wider than DINOv2's 0.02, which is made for widths of 384 and more.
Needs torch and numpy. One JSON line with the settings and the result goes to --log.
"""
import argparse
import gzip
import json
import math
import os
import time

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from protocol import serve


# ---------------------------------------------------------------------------------------------------------------- model
class Attention(nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x):
        b, n, d = x.shape
        q, k, v = self.qkv(x).view(b, n, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        return self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, n, d))


class Mlp(nn.Module):
    def __init__(self, dim, hidden):
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, x):
        return self.fc2(F.gelu(self.fc1(x)))


class LayerScale(nn.Module):
    def __init__(self, dim, value):
        super().__init__()
        self.gamma = nn.Parameter(torch.full((dim,), value))

    def forward(self, x):
        return x * self.gamma


class Block(nn.Module):
    def __init__(self, dim, heads, ratio, layer_scale):
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.attn = Attention(dim, heads)
        self.ls1 = LayerScale(dim, layer_scale)
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = Mlp(dim, int(dim * ratio))
        self.ls2 = LayerScale(dim, layer_scale)

    def forward(self, x):
        x = x + self.ls1(self.attn(self.norm1(x)))
        return x + self.ls2(self.mlp(self.norm2(x)))


def cubic_matrix(src, dst):
    """[dst, src] weights of a bicubic resize (a = -0.75, border clamped) with DINOv2's coordinate step src / (dst + 0.1)."""
    step, a = src / (dst + 0.1), -0.75
    m = torch.zeros(dst, src, dtype=torch.float64)
    for o in range(dst):
        x = (o + 0.5) * step - 0.5
        i = math.floor(x)
        for j in range(i - 1, i + 3):
            t = abs(x - j)
            w = (a + 2) * t**3 - (a + 3) * t**2 + 1 if t <= 1 else a * t**3 - 5 * a * t**2 + 8 * a * t - 4 * a
            m[o, min(max(j, 0), src - 1)] += w
    return m.float()


class ViT(nn.Module):
    def __init__(self, size, patch, dim, depth, heads, ratio, layer_scale, std, pos_std):
        super().__init__()
        self.patch, self.grid = patch, size // patch
        self.patch_embed = nn.Linear(3 * patch * patch, dim)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + self.grid**2, dim))
        self.mask_token = nn.Parameter(torch.zeros(1, dim))
        self.blocks = nn.ModuleList(Block(dim, heads, ratio, layer_scale) for _ in range(depth))
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        for m in self.blocks.modules():
            if isinstance(m, nn.Linear):
                nn.init.trunc_normal_(m.weight, std=std)
                nn.init.zeros_(m.bias)
        nn.init.trunc_normal_(self.pos_embed, std=pos_std)
        nn.init.normal_(self.cls_token, std=1e-6)
        self.resize = {}

    def positions(self, grid):
        if grid == self.grid:
            return self.pos_embed
        r = self.resize.setdefault(grid, cubic_matrix(self.grid, grid).to(self.pos_embed.device))
        p = self.pos_embed[0, 1:].view(self.grid, self.grid, -1)
        p = torch.einsum('ai,ijd,bj->abd', r, p, r).reshape(1, grid * grid, -1)
        return torch.cat([self.pos_embed[:, :1], p], 1)

    def forward(self, x, masks=None):
        b, c, s, _ = x.shape
        g, p = s // self.patch, self.patch
        x = self.patch_embed(x.view(b, c, g, p, g, p).permute(0, 2, 4, 1, 3, 5).reshape(b, g * g, c * p * p))
        if masks is not None:
            x = torch.where(masks.unsqueeze(-1), self.mask_token, x)
        x = torch.cat([self.cls_token.expand(b, -1, -1), x], 1) + self.positions(g)
        for block in self.blocks:
            x = block(x)
        x = self.norm(x)
        return x[:, 0], x[:, 1:]


class Head(nn.Module):
    def __init__(self, dim, hidden, bottleneck, prototypes, std):
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(dim, hidden), nn.GELU(), nn.Linear(hidden, hidden), nn.GELU(), nn.Linear(hidden, bottleneck))
        for m in self.mlp:
            if isinstance(m, nn.Linear):
                nn.init.trunc_normal_(m.weight, std=std)
                nn.init.zeros_(m.bias)
        v = nn.Linear(bottleneck, prototypes, bias=False).weight
        self.weight_v = nn.Parameter(v.detach().clone())
        self.weight_g = nn.Parameter(torch.ones(prototypes, 1))

    def forward(self, x):
        x = F.normalize(self.mlp(x), dim=-1, eps=1e-12)
        return x @ (self.weight_g * self.weight_v / self.weight_v.norm(dim=1, keepdim=True)).T


# --------------------------------------------------------------------------------------------------------------- losses
def sinkhorn(logits, temp, iters=3):
    q = torch.exp((logits - logits.max()) / temp)
    for _ in range(iters):
        q = q / q.sum(0, keepdim=True)
        q = q / q.sum(1, keepdim=True)
    return q


def koleo(x):
    x = F.normalize(x, dim=-1, eps=1e-8)
    with torch.no_grad():
        dots = x @ x.T
        dots.fill_diagonal_(-1)
        near = dots.argmax(1)
    return -torch.log((x - x[near] + 1e-8).norm(dim=1) + 1e-8).mean()


def objective(cfg, student, teacher, batch, temp):
    """The scalar that is differentiated, and the logged terms."""
    b, n = cfg.batch, cfg.locals
    heads = lambda net, cls, rows: (  # logits in float32, as the losses are
        (net['head'](cls).float(), net['ibot_head'](rows).float()) if cfg.separate
        else net['head'](torch.cat([cls, rows])).float().split([cls.shape[0], rows.shape[0]]))
    low = lambda: torch.autocast(cfg.device, dtype=torch.bfloat16, enabled=bool(cfg.bf16))
    with torch.no_grad(), low():
        t_cls, t_patch = teacher['backbone'](batch['global'])
        t_cls = torch.cat([t_cls[b:], t_cls[:b]])
        rows = t_patch.flatten(0, 1)[batch['indices']]
        t_dino, t_ibot = heads(teacher, t_cls, rows)
    with torch.no_grad():
        t_dino, t_ibot = sinkhorn(t_dino, temp), sinkhorn(t_ibot, temp)
    with low():
        s_cls, s_patch = student['backbone'](batch['global'], batch['masks'])
        s_loc, _ = student['backbone'](batch['local'])
        rows = s_patch.flatten(0, 1)[batch['indices']]
        s_dino, s_ibot = heads(student, torch.cat([s_loc, s_cls]), rows)
    s_cls = s_cls.float()
    s_loc_l, s_cls_l = F.log_softmax(s_dino / 0.1, -1).split([n * b, 2 * b])
    s_ibot = F.log_softmax(s_ibot / 0.1, -1)
    pairs = 2 + 2 * n
    targets = t_dino.view(2, b, -1)
    local = -(s_loc_l.view(n, b, -1).sum(0) * targets.sum(0)).sum(-1).mean() / pairs
    glob = -2 * (s_cls_l * t_dino).sum(-1).mean() / pairs
    kol = koleo(s_cls[:b]) + koleo(s_cls[b:])
    ibot = -((s_ibot * t_ibot).sum(-1) * batch['weights']).sum() / (2 * b)
    total = cfg.dino * (local + glob) + cfg.koleo * kol + cfg.ibot * ibot
    return total, {'dino': (local + glob).detach(), 'ibot': ibot.detach(), 'koleo': kol.detach() / 2}


# ----------------------------------------------------------------------------------------------------------------- data
def idx(path):
    with gzip.open(path) as f:
        raw = f.read()
    rank = raw[3]
    shape = [int.from_bytes(raw[4 + 4 * i : 8 + 4 * i], 'big') for i in range(rank)]
    return torch.from_numpy(np.frombuffer(raw, np.uint8, offset=4 + 4 * rank).reshape(shape).copy())


def crops(images, size, scale, cfg, g, flip=True):
    """Random resized crops of gray images [B,1,H,W] with flip, brightness, contrast and blur: [B,3,size,size], normalised."""
    b = images.shape[0]
    u = lambda lo, hi: lo + (hi - lo) * torch.rand(b, generator=g)
    area = u(*scale)
    ratio = torch.exp(u(math.log(3 / 4), math.log(4 / 3)))
    w, h = torch.sqrt(area * ratio).clamp(max=1), torch.sqrt(area / ratio).clamp(max=1)
    cx, cy = (1 - w) * u(-1, 1), (1 - h) * u(-1, 1)
    sign = torch.where(torch.rand(b, generator=g) < cfg.flip, -1.0, 1.0)
    zero = torch.zeros(b)
    theta = torch.stack([torch.stack([w * sign, zero, cx], 1), torch.stack([zero, h, cy], 1)], 1)
    grid = F.affine_grid(theta, (b, 1, size, size), align_corners=False)
    x = F.grid_sample(images, grid, mode='bilinear', padding_mode='border', align_corners=False)
    on = (torch.rand(b, generator=g) < 0.8).float()
    bright = (1 + on * u(-cfg.jitter, cfg.jitter)).view(b, 1, 1, 1)
    contrast = (1 + on * u(-cfg.jitter, cfg.jitter)).view(b, 1, 1, 1)
    x = (x * bright).clamp(0, 1)
    mean = x.mean((1, 2, 3), keepdim=True)
    x = ((x - mean) * contrast + mean).clamp(0, 1)
    if cfg.blur > 0:
        sigma = u(0.1, cfg.blur_sigma).view(b, 1, 1)
        taps = torch.exp(-0.5 * (torch.arange(-2, 3).float() / sigma) ** 2)
        taps = taps / taps.sum(-1, keepdim=True)
        k = (taps.transpose(1, 2) * taps).unsqueeze(1)
        blurred = F.conv2d(F.pad(x, (2, 2, 2, 2), mode='reflect').transpose(0, 1), k, groups=b).transpose(0, 1)
        x = torch.where((torch.rand(b, generator=g) < cfg.blur).view(b, 1, 1, 1), blurred, x)
    return ((x - 0.286) / 0.353).expand(b, 3, size, size).contiguous()


def block_mask(grid, target, cap_all, rng):
    mask, count = np.zeros((grid, grid), bool), 0
    while count < target:
        cap, added = min(target - count, cap_all), 0
        for _ in range(10):
            area = rng.uniform(4, cap) if cap > 4 else rng.uniform(cap, 4)
            r = math.exp(rng.uniform(math.log(0.3), math.log(1 / 0.3)))
            h, w = round(math.sqrt(area * r)), round(math.sqrt(area / r))
            if w < grid and h < grid:
                top, left = rng.integers(0, grid - h + 1), rng.integers(0, grid - w + 1)
                new = h * w - mask[top : top + h, left : left + w].sum()
                if 0 < new <= cap:
                    mask[top : top + h, left : left + w] = True
                    added = int(new)
                    break
        if added == 0:
            break
        count += added
    return mask


def masks(cfg, grid, rng):
    crops_, n = 2 * cfg.batch, grid * grid
    k = int(crops_ * cfg.mask_probability)
    edges = np.linspace(cfg.mask_lo, cfg.mask_hi, k + 1)
    cap = cfg.size // 2 // cfg.patch * cfg.size // cfg.patch
    rows = [block_mask(grid, int(n * rng.uniform(edges[i], edges[i + 1])), cap, rng) for i in range(k)]
    rows += [np.zeros((grid, grid), bool)] * (crops_ - k)
    rng.shuffle(rows)
    m = torch.from_numpy(np.stack(rows).reshape(crops_, n))
    weights = (1 / m.sum(1).clamp(min=1).float()).unsqueeze(1).expand(-1, n)[m]
    return m, m.flatten().nonzero().flatten(), weights


# ------------------------------------------------------------------------------------------------------- schedules, k-NN
def cosine(base, final, i, total):
    return final + 0.5 * (base - final) * (1 + math.cos(math.pi * i / total))


@torch.no_grad()
def features(net, images):
    x = ((images - 0.286) / 0.353).expand(-1, 3, -1, -1)
    out = []
    for part in x.split(250):
        c, p = net(part)
        out.append(torch.cat([c, p.mean(1)], 1))
    f = torch.cat(out)
    d = f.shape[1] // 2
    return {'cls': f[:, :d], 'mean': f[:, d:], 'both': torch.cat([F.normalize(f[:, :d], dim=1), F.normalize(f[:, d:], dim=1)], 1)}


def knn(bank, bank_labels, test, test_labels, k=20, temp=0.07):
    sims = F.normalize(test, dim=1) @ F.normalize(bank, dim=1).T
    top, where = sims.topk(k, 1)
    votes = torch.zeros(test.shape[0], 10).scatter_add_(1, bank_labels[where].long(), torch.softmax(top / temp, 1))
    return 100 * (votes.argmax(1) == test_labels).float().mean().item()


def evaluate(net, cfg, data):
    a, b = features(net, data['bank']), features(net, data['test'])
    return {k: round(knn(a[k], data['bank_labels'], b[k], data['test_labels']), 2) for k in a}


# ------------------------------------------------------------------------------------------------------------------ run
def flops_per_step(cfg):
    """Multiply-adds count as two. Backward is twice the forward."""
    def vit(images, size):
        t = (size // cfg.patch) ** 2 + 1
        token = cfg.depth * (2 * (4 + 2 * cfg.ratio) * cfg.dim**2 + 4 * t * cfg.dim)
        return images * (t * token + 2 * (t - 1) * 3 * cfg.patch**2 * cfg.dim)
    head = 2 * (cfg.dim * cfg.hidden + cfg.hidden**2 + cfg.hidden * cfg.bottleneck + cfg.bottleneck * cfg.prototypes)
    b, n = cfg.batch, (cfg.size // cfg.patch) ** 2
    masked = 2 * b * cfg.mask_probability * n * (cfg.mask_lo + cfg.mask_hi) / 2
    teacher = vit(2 * b, cfg.size) + head * (2 * b + masked)
    student = vit(2 * b, cfg.size) + vit(cfg.locals * b, cfg.local_size) + head * (2 * b + cfg.locals * b + masked)
    return teacher + 3 * student


def main():
    p = argparse.ArgumentParser()
    add = lambda name, value: p.add_argument('--' + name.replace('_', '-'), type=type(value), default=value)
    for name, value in dict(
        steps=400, seed=0, batch=32, size=28, local_size=16, locals=2, patch=4, dim=96, depth=4, heads=3, ratio=4.0,
        layer_scale=1.0, std=0.1, head_std=0.1, pos_std=0.3, hidden=256, bottleneck=64, prototypes=512, lr=1e-3, min_lr=1e-5, warmup=0.1, wd=0.04, wd_end=0.2,
        momentum=0.98, momentum_end=1.0, temp=0.04, temp_end=0.07, temp_warmup=0.3, clip=3.0, beta2=0.999, patch_lr=1.0, freeze=0.0,
        dino=1.0, ibot=1.0, koleo=0.1, mask_probability=0.5, mask_lo=0.1, mask_hi=0.5, global_lo=0.5, local_lo=0.2,
        local_hi=0.5, flip=0.5, jitter=0.4, blur=0.2, blur_sigma=1.0, train=6000, bank=3000, test=1000, threads=1,
        data=os.path.join(os.path.dirname(os.path.abspath(__file__)), '../../data/fashion-mnist'), log='', every=50, eval_every=0, name='', time=0, compile=0,
        separate=0, bf16=0, device='cpu').items():
        add(name, value)
    cfg = p.parse_args()
    torch.set_num_threads(cfg.threads)
    torch.manual_seed(cfg.seed)
    torch.backends.cuda.matmul.allow_tf32 = False
    g = torch.Generator().manual_seed(cfg.seed + 1)
    rng = np.random.default_rng(cfg.seed + 2)

    def network():
        return nn.ModuleDict({'backbone': ViT(cfg.size, cfg.patch, cfg.dim, cfg.depth, cfg.heads, cfg.ratio, cfg.layer_scale, cfg.std, cfg.pos_std),
                              'head': Head(cfg.dim, cfg.hidden, cfg.bottleneck, cfg.prototypes, cfg.head_std),
                              **({'ibot_head': Head(cfg.dim, cfg.hidden, cfg.bottleneck, cfg.prototypes, cfg.head_std)} if cfg.separate else {})})
    student, teacher = network().to(cfg.device), network().to(cfg.device)
    teacher.load_state_dict(student.state_dict())
    teacher.requires_grad_(False)
    groups = {}
    for name, param in student.named_parameters():
        lr_mult = cfg.patch_lr if 'patch_embed' in name else 1.0
        wd_mult = 0.0 if name.endswith('.bias') or 'norm' in name or 'gamma' in name else 1.0
        last = 'weight_g' in name or 'weight_v' in name
        groups.setdefault((lr_mult, wd_mult, last), []).append(param)
    opt = torch.optim.AdamW([{'params': v, 'lr_mult': k[0], 'wd_mult': k[1], 'last': k[2]} for k, v in groups.items()], lr=0.0, betas=(0.9, cfg.beta2), fused=True)

    def crop_batch(pick):
        m, indices, weights = masks(cfg, cfg.size // cfg.patch, rng)
        return {
            'global': torch.cat([crops(pick, cfg.size, (cfg.global_lo, 1.0), cfg, g) for _ in range(2)]),
            'local': torch.cat([crops(pick, cfg.local_size, (cfg.local_lo, cfg.local_hi), cfg, g) for _ in range(cfg.locals)]),
            'masks': m, 'indices': indices, 'weights': weights}

    def update(batch, temp, mom):
        opt.zero_grad(set_to_none=True)
        total, terms = (compiled if cfg.compile else objective)(cfg, student, teacher, batch, temp)
        total.backward()
        for part in student.values():
            nn.utils.clip_grad_norm_(part.parameters(), cfg.clip)
        opt.step()
        with torch.no_grad():
            t, s = list(teacher.parameters()), list(student.parameters())
            torch._foreach_mul_(t, mom)
            torch._foreach_add_(t, s, alpha=1 - mom)
        return terms

    compiled = torch.compile(objective)
    if cfg.time:
        m, indices, weights = masks(cfg, cfg.size // cfg.patch, rng)
        noise = lambda count, side: torch.randn(count, 3, side, side, generator=g)
        batch = {'global': noise(2 * cfg.batch, cfg.size), 'local': noise(cfg.locals * cfg.batch, cfg.local_size), 'masks': m, 'indices': indices, 'weights': weights}
        batch = {k: v.to(cfg.device) for k, v in batch.items()}
        for group in opt.param_groups:
            group['lr'], group['weight_decay'] = 1e-4 * group['lr_mult'], 0.04 * group['wd_mult']

        def once():
            update(batch, 0.05, 0.99)
            if cfg.device == 'cuda':
                torch.cuda.synchronize()
        return serve(once)

    find = lambda stem: next(os.path.join(cfg.data, f) for f in sorted(os.listdir(cfg.data)) if f.startswith(stem))
    images = idx(find('train-images'))[: cfg.train].float().div(255).unsqueeze(1)
    labels = idx(find('train-labels'))[: cfg.train]
    data = {
        'bank': images[: cfg.bank], 'bank_labels': labels[: cfg.bank],
        'test': idx(find('t10k-images'))[: cfg.test].float().div(255).unsqueeze(1), 'test_labels': idx(find('t10k-labels'))[: cfg.test]}

    before = evaluate(teacher['backbone'], cfg, data)
    tflop = flops_per_step(cfg) * cfg.steps / 1e12
    print(f'{flops_per_step(cfg) / 1e9:.1f} GFLOP a step, {tflop:.2f} TFLOP in all; k-NN before {before}', flush=True)
    order, curve, start, spent = [], [], time.time(), 0.0
    warm = int(cfg.warmup * cfg.steps)
    for step in range(cfg.steps):
        if len(order) < cfg.batch:
            order = torch.randperm(cfg.train, generator=g).tolist()
        pick = images[[order.pop() for _ in range(cfg.batch)]]
        batch = crop_batch(pick)
        lr = cfg.lr * step / max(warm - 1, 1) if step < warm else cosine(cfg.lr, cfg.min_lr, step - warm, cfg.steps - warm)
        wd = cosine(cfg.wd, cfg.wd_end, step, cfg.steps)
        mom = cosine(cfg.momentum, cfg.momentum_end, step, cfg.steps)
        temp = min(cfg.temp + (cfg.temp_end - cfg.temp) * step / max(cfg.temp_warmup * cfg.steps, 1), cfg.temp_end)
        for group in opt.param_groups:
            group['lr'] = 0.0 if group['last'] and step < cfg.freeze * cfg.steps else lr * group['lr_mult']
            group['weight_decay'] = wd * group['wd_mult']
        tick = time.time()
        terms = {k: float(v) for k, v in update(batch, temp, mom).items()}
        spent += time.time() - tick
        if step % cfg.every == 0 or step == cfg.steps - 1:
            print(f'step {step:5d}  ' + '  '.join(f'{k} {v:.3f}' for k, v in terms.items()) + f'  lr {lr:.2e}', flush=True)
        if cfg.eval_every and (step + 1) % cfg.eval_every == 0:
            curve.append(evaluate(teacher['backbone'], cfg, data))
            print(f'   k-NN {curve[-1]}', flush=True)
    after, own = evaluate(teacher['backbone'], cfg, data), evaluate(student['backbone'], cfg, data)
    line = {'name': cfg.name, 'seed': cfg.seed, 'before': before, 'after': after, 'student': own, 'tflop': round(tflop, 2),
            'step_s': round(spent / cfg.steps, 4), 'gflops': round(flops_per_step(cfg) * cfg.steps / spent / 1e9, 1),
            'total_s': round(time.time() - start, 1), 'terms': terms, 'config': vars(cfg)}
    print({k: v for k, v in line.items() if k != 'config'}, flush=True)
    if cfg.log:
        with open(cfg.log, 'a') as f:
            f.write(json.dumps(line) + '\n')


if __name__ == '__main__':
    main()

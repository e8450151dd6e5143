/** The derivatives of the models' own functions, by what they declare: losses, Sinkhorn, attention, LayerNorm and a whole block. */
import { expect, test } from 'vitest';
import { fn } from '../../dsl/index.ts';
import { attention, layerNorm } from '../../models/layers.ts';
import { dinoLoss, koleoLoss } from '../../models/losses.ts';
import { balanced } from '../../models/sinkhorn.ts';
import { block } from '../../models/vit/block.ts';
import { checkDeclared, formatReport } from '../../testing/index.ts';

const cases = {
  'DINO loss': dinoLoss(0.1),
  KoLeo: koleoLoss,
  'Sinkhorn step': balanced(0.5),
  'Sinkhorn step and its temperature': fn(['M K', 'M', ''], (logits, valid, t) => balanced(t.mul(t).add(0.1))(logits, valid)),
  attention: attention(4, 2),
  LayerNorm: layerNorm(4),
  block: block({ width: 4, heads: 2, ffn: 'mlp', mlpRatio: 2, layerScale: 1e-5 }),
};
test.each(Object.entries(cases))('%s, both orders', (_, f) => {
  const report = checkDeclared(f, { order: 2, seed: 3, directions: 2 });
  expect([report.ok, report.undecided], formatReport(report)).toEqual([true, []]);
});

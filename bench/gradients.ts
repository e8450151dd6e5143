/**
 * The parts of DINOv2 through `fovea gradcheck`, as a table: `npx tsx bench/gradients.ts`. Each row is what
 *
 *   npx fovea gradcheck 'models/losses.ts#dinoLoss(0.1)' --order 2
 *
 * says: laws that hold, the worst error in units of its tolerance, the coarsest resolution (the part of the compared numbers below which an
 * error is not seen), kinks on the way, and the time without that of starting Node and loading the file.
 */
import { join } from 'node:path';
import { load, named } from '../cli/exports.ts';
import { checkDeclared } from '../testing/index.ts';

const targets: readonly (readonly [what: string, target: string])[] = [
  ['DINO loss', 'models/losses.ts#dinoLoss(0.1)'],
  ['KoLeo', 'models/losses.ts#koleoLoss'],
  ['Sinkhorn-Knopp, 3 rounds', 'models/sinkhorn.ts#balanced(0.1)'],
  ['attention', 'models/layers.ts#attention(4, 2)'],
  ['LayerNorm', 'models/layers.ts#layerNorm(4)'],
  ['block', 'models/vit/block.ts#block({"width":4,"heads":2,"ffn":"mlp","mlpRatio":2,"layerScale":1e-5})'],
];
const root = join(import.meta.dirname, '..');

console.log(
  '| part | target | laws | checks | error / tolerance | resolution | kinks | verdict | time |\n|---|---|---|---|---|---|---|---|---|',
);
for (const [what, target] of targets) {
  const [path, name] = target.split('#') as [string, string];
  const file = join(root, path);
  const f = named(await load(file), name, file);
  const started = performance.now();
  const { checks, kinks, verdict } = checkDeclared(f, { order: 2 });
  const seconds = (performance.now() - started) / 1000;
  const decided = checks.filter((c) => c.status === 'ok' || c.status === 'failed');
  const worst = Math.max(...decided.map((c) => (c.error === 0 ? 0 : c.error / c.tolerance)));
  const resolution = Math.max(...decided.map((c) => c.resolution));
  const laws = new Set(decided.map((c) => c.law)).size;
  console.log(
    `| ${what} | \`${target}\` | ${laws} | ${decided.length} | ${worst.toFixed(3)} | ${resolution.toExponential(1)} | ${kinks.length} | ${verdict} | ${seconds.toFixed(1)} s |`,
  );
}

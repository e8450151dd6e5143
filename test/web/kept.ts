/** Runs in a page: compiles a small program with plans that are kept, and says how it went. plans.test.ts bundles it. */

import { plansInCache, webgpu } from '../../backends/webgpu/browser.ts';
import { compileGraph } from '../../compiler/compile.ts';
import { builder } from '../../compiler/graph/builder.ts';

interface Storage {
  keys(): Promise<readonly string[]>;
  open(name: string): Promise<{ keys(): Promise<readonly unknown[]>; put(place: unknown, answer: Response): Promise<void> }>;
}
const { caches } = globalThis as unknown as { readonly caches: Storage };

export interface Kept {
  readonly kept: boolean;
  readonly result: readonly number[];
  readonly caches: readonly string[];
}

const visit = async (version: string): Promise<Kept> => {
  const plans = await plansInCache(version);
  if (!plans) throw new Error('this page has no cache storage');
  const backend = await webgpu({ plans });
  const b = builder();
  const x = b.param({ dtype: 'f32', shape: [5] });
  const { executable, report } = await compileGraph(b.build([b.mul(b.add(x, x), x)]), { backend });
  executable.write(0, Float32Array.of(1, 2, 3, 4, 5));
  await executable.run();
  const result = Array.from(await executable.read(0));
  backend.destroy();
  return { kept: report.kept, result, caches: await caches.keys() };
};
/** Writes nonsense over everything that is kept. */
const damage = async (): Promise<void> => {
  for (const name of await caches.keys()) {
    const cache = await caches.open(name);
    for (const place of await cache.keys()) await cache.put(place, new Response('fovea plan, torn'));
  }
};
Object.assign(globalThis, { visit, damage });

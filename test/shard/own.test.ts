/** Whole arguments to a rank's part of them: what does not fit is refused as on one device, since a part would fit by its length. */
import { expect, test } from 'vitest';
import { simulated } from '../../backends/collectives/simulated.ts';
import { cpu } from '../../backends/cpu/index.ts';
import { type F32, shard, spec, toHost } from '../../index.ts';

const step = (p: { readonly w: F32<'D E'> }, x: F32<'D E'>) => ({ w: p.w.add(x) });
const host = (shape: readonly number[], n = shape.reduce((a, b) => a * b, 1)) => ({
  shape,
  dtype: 'f32' as const,
  data: Float32Array.from({ length: n }, (_, i) => i),
});

test('a part of each tensor; another shape, another number of elements, lazy ones too, are refused', async () => {
  await Promise.all(
    simulated(2).map(async (world) => {
      const program = await shard(step, world, { strategy: 'FULL_SHARD' })([{ w: spec('D E') }, spec('D E')], {
        backend: cpu({ threads: 1 }),
        dims: { D: 2, E: 3 },
        donate: [0],
      });
      const out = await program(...program.own({ w: host([2, 3]) }, host([2, 3])));
      expect([...(await toHost(out)).w.data]).toEqual(world.rank === 0 ? [0, 2, 4] : [6, 8, 10]);
      const refused = 'argument 1, w: expected f32[2 3], got f32[3 2]';
      expect(() => program.own({ w: host([3, 2]) }, host([2, 3]))).toThrow(refused);
      expect(() => program.own({ w: { shape: [3, 2], dtype: 'f32' as const, load: () => new Float32Array(6) } }, host([2, 3]))).toThrow(
        refused,
      );
      expect(() => program.own({ w: host([2, 3], 5) }, host([2, 3]))).toThrow('argument 1, w');
      program.dispose();
      await world.close();
    }),
  );
});

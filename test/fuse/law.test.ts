import fc from 'fast-check';
import { expect, test } from 'vitest';
import { programs } from './programs.ts';
import { cpu, deviation, gpu, sample } from './run.ts';

for (const target of [cpu, { ...cpu, name: 'few buffers', maxBuffers: 4 }, gpu])
  test(`kernels compute what the graph says: ${target.name}`, () => {
    fc.assert(
      fc.property(programs, fc.nat({ max: 1000 }), (g, seed) => {
        expect(deviation(g, target, g.params.map((p, i) => sample(p.type, seed + i)))).toBeUndefined();
      }),
      { numRuns: 300, seed: 20 },
    );
  });

import fc from 'fast-check';
import { expect, test } from 'vitest';
import { allPrims, arbitraryProgram } from '../../testing/program.ts';
import { programs } from './programs.ts';
import { cpu, deviation, gpu, sample } from './run.ts';

for (const target of [cpu, { ...cpu, name: 'few buffers', maxBuffers: 4 }, gpu])
  test(`kernels compute what the graph says: ${target.name}`, () => {
    fc.assert(
      fc.property(programs, fc.nat({ max: 1000 }), (g, seed) => {
        expect(
          deviation(
            g,
            target,
            g.params.map((p, i) => sample(p.type, seed + i)),
          ),
        ).toBeUndefined();
      }),
      { numRuns: 300, seed: 20 },
    );
  });

const regions = new Set(['call', 'scan', 'perShard', 'reshard', 'axisIndex']);
const prims = new Set([...allPrims].filter((p) => !regions.has(p)));

for (const target of [cpu, gpu])
  test(`every primitive and dtype: ${target.name}`, () => {
    fc.assert(
      fc.property(arbitraryProgram({ prims, maxNodes: 16 }), ({ graph, inputs }) => {
        expect(deviation(graph, target, inputs)).toBeUndefined();
      }),
      { numRuns: 300, seed: 21 },
    );
  });

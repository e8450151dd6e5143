/** Groups as text; that every group reads back is a law (testing/laws/text.ts). */
import { describe, expect, it } from 'vitest';
import { parseGroup, printGroup } from '../../compiler/tile/text.ts';

const text = `group reduce reason="read by \\"a\\" contraction" scope="block/norm1" phase=bwd
graph (%4: f32[257 384], %9 w: f32[384]) {
  %5: f32[257] = reduceSum(%4) axes=[1]
  %6: f32[257 384] = broadcast(%9) shape=[257 384] axes=[1]
  return %5
}
`;

describe('a group', () => {
  it('is its header and a graph', () => {
    const g = parseGroup(text);
    expect(g).toMatchObject({ template: 'reduce', reason: 'read by "a" contraction', scope: 'block/norm1', phase: 'bwd' });
    expect([g.inputs, g.nodes, g.outputs].map((x) => x.length)).toEqual([2, 2, 1]);
    expect(printGroup(g, { meta: false })).toBe(text);
  });
  it.each([
    ['another template', text.replace('reduce', 'reducer')],
    ['no header', text.slice(text.indexOf('\n') + 1)],
    ['no phase', text.replace(' phase=bwd', '')],
    ['an open quote', text.replace('norm1"', 'norm1')],
  ])('%s is refused', (_, bad) => {
    expect(() => parseGroup(bad)).toThrow(expect.objectContaining({ code: 'FV0102' }));
  });
});

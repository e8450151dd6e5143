/** Programs that generation found a fault with, as it shrank them: every law holds for each now. */
import { expect, test } from 'vitest';
import { cpu, cpuTarget } from '../../backends/cpu/index.ts';
import { laws } from '../../testing/laws/index.ts';
import { observe } from '../../testing/observe.ts';
import { parseProgram } from '../../testing/program-text.ts';

const found: { readonly [fault: string]: string } = {
  // two forms of one index, i and i div 2, each decided by a branch: the branch in which they contradict each other has no operand to read
  'a concatenation of reshaped concatenations': `graph (%0 x0: i32[]) {
  %1: f32[] = const() value=0.8621519012911847 dtype=f32
  %2: f32[1 2] = broadcast(%1) shape=[1 2] axes=[]
  %3: f32[] = const() value=1.3947294523837417 dtype=f32
  %4: f32[1 2] = broadcast(%3) shape=[1 2] axes=[]
  %5: f32[2 2] = concat(%2, %4) axis=0
  %6: f32[2 2] = add(%5, %5)
  %7: f32[2 2] = tanh(%6)
  %8: f32[1 2 2] = reshape(%6) shape=[1 2 2]
  %9: f32[2 2] = add(%7, %7)
  %10: f32[1 2 2] = reshape(%9) shape=[1 2 2]
  %11: f32[2 2 2] = concat(%8, %10) axis=0
  return %11
}
%0 = [0]
`,
};

const variants = { plain: cpu({ threads: 1 }), threads: cpu({ threads: 2 }), poisoned: cpu({ threads: 2, poison: 0x7fc0dead }) };
test.each(Object.entries(found))('%s', async (_, text) => {
  const p = parseProgram(text);
  const [seen] = await observe([p], variants);
  for (const law of laws)
    expect([law.name, law.check(p, { seed: 1, target: cpuTarget(2), seen: seen as never })]).toEqual([law.name, undefined]);
});

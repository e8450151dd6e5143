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
  // the last vector of a row has lanes without an element, which hold 0: no integer may be divided by them
  'a quotient of six integers': `graph (%0 x0: i32[2 3]) {
  %1: i32[6] = reshape(%0) shape=[6]
  %2: i32[6] = abs(%1)
  %3: i32[] = const() value=1 dtype=i32
  %4: i32[6] = broadcast(%3) shape=[6] axes=[]
  %5: i32[6] = or(%2, %4)
  %6: i32[6] = div(%2, %5)
  %7: i32[6] = rem(%2, %5)
  return %6, %7
}
%0 = [0, 0, 0, 0, 0, 0]
`,
  // a map that goes with either of two sums, which do not go with each other
  'a value that needs a map and two sums': `graph (%0 x0: f32[2]) {
  %1: f32[2 2] = broadcast(%0) shape=[2 2] axes=[0]
  %2: f32[2 2] = neg(%1)
  %3: f32[] = const() value=-1 dtype=f32
  %4: f32[2] = exp(%0)
  %5: f32[2] = broadcast(%3) shape=[2] axes=[]
  %6: f32[] = reduceSum(%5) axes=[0]
  %7: f32[2 2] = neg(%2)
  %8: f32[2] = neg(%4)
  %9: f32[2] = reduceSum(%7) axes=[1]
  %10: f32[2] = broadcast(%6) shape=[2] axes=[]
  %11: f32[2] = add(%8, %10)
  %12: f32[2] = add(%11, %9)
  %13: f32[] = const() value=1 dtype=f32
  %14: f32[2] = broadcast(%13) shape=[2] axes=[]
  %15: f32[] = neg(%13)
  %16: f32[2] = neg(%14)
  %17: f32[2] = broadcast(%15) shape=[2] axes=[]
  %18: f32[2] = mul(%17, %4)
  %19: f32[2] = neg(%16)
  %20: f32[] = reduceSum(%19) axes=[0]
  %21: f32[2] = broadcast(%20) shape=[2] axes=[]
  %22: f32[2] = add(%18, %21)
  return %12, %22
}
%0 = [0, 0]
`,
  // second derivatives: of no rows none are taken, which is not more than half of them, again and again
  'products of rows that are none': `graph (%0 x0: f32[2 0]) {
  %1: f32[2 0 2] = broadcast(%0) shape=[2 0 2] axes=[0 1]
  %2: f32[2 0 2] = tanh(%1)
  %3: f32[2 0 2] = concat(%2, %1) axis=1
  %4: f32[2 0 2 0] = dot(%3, %3) batch=[][] contract=[2][2] dtype=f32
  return %4
}
%0 = []
`,
};

const two = { threads: 2, shareAll: true };
const variants = { plain: cpu({ threads: 1 }), threads: cpu(two), poisoned: cpu({ ...two, poison: 0x7fc0dead }) };
test.each(Object.entries(found))('%s', async (_, text) => {
  const p = parseProgram(text);
  const [seen] = await observe([p], variants);
  for (const law of laws)
    expect([law.name, law.check(p, { seed: 1, target: cpuTarget(2), seen: seen as never })]).toEqual([law.name, undefined]);
});

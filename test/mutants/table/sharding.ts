/** Faults of programs on ranks: what is sent and added up, buckets, schedules, and the checks of both. */
import type { Row } from '../mutant.ts';

const move = 'compiler/shard/move.ts';
const localise = 'compiler/shard/localise.ts';
const bucket = 'compiler/shard/bucket.ts';
const schedule = 'compiler/shard/schedule.ts';
const passes = 'test/shard/passes.test.ts';

export const sharding: readonly Row[] = [
  {
    name: 'gradients reduced by maximum',
    fault: 'wrong constant',
    file: move,
    from: "group: 'shard', reduction: 'sum', unit });",
    to: "group: 'shard', reduction: 'max', unit });",
    test: passes,
  },
  {
    name: 'gradients not added over copies',
    fault: 'dropped term',
    file: move,
    from: "b.cast(reduced(r, mine, 'replica', 'sum', unit), x.type.dtype)",
    to: 'b.cast(mine, x.type.dtype)',
    test: passes,
  },
  {
    name: 'sums of pieces count every copy',
    fault: 'dropped check',
    file: localise,
    from: 'if (mesh.shard !== mesh.ranks) own = b.select(',
    to: 'if (mesh.shard > mesh.ranks) own = b.select(',
  },
  {
    name: 'a wait left out',
    fault: 'dropped term',
    file: schedule,
    from: "return b.emit({ prim: 'wait' }, [...pending, ...ins]);",
    to: 'return pending;',
  },
  {
    name: 'a bucket gives its tensors in another order',
    fault: 'wrong order',
    file: bucket,
    from: '          env.set(o, outs[i] as Value);',
    to: '          env.set(o, outs[outs.length - 1 - i] as Value);',
    test: passes,
  },
  {
    name: 'the cap on gathered bytes ignored',
    fault: 'dropped check',
    file: schedule,
    from: '      if (alive + g.bytes > gatheredBytes) continue;\n',
    to: '',
    test: passes,
  },
  {
    name: 'the distance of gathers ignored',
    fault: 'wrong constant',
    file: schedule,
    from: 'let d = Math.min(prefetch, i);',
    to: 'let d = Math.min(1, i);',
    test: passes,
  },
  {
    name: 'gathers of one phase start in the one before',
    fault: 'dropped check',
    file: schedule,
    from: '      if (before.start.meta.phase !== g.start.meta.phase) continue;\n',
    to: '',
    test: passes,
  },
  {
    name: 'gradients stay under way until they are read',
    fault: 'dropped term',
    file: schedule,
    from: "      if (n.op.unit !== unit || unit === '') land();\n",
    to: '',
    test: passes,
  },
  {
    name: 'transfers that mean something else are taken',
    fault: 'dropped check',
    file: 'compiler/shard/verify.ts',
    from: '  verifyMeaning(g, before);\n',
    to: '',
  },
  {
    name: 'parameters cast that are read in float32 too',
    fault: 'missing cast',
    file: 'compiler/shard/cast-first.ts',
    from: 'return types.size === 1 && one',
    to: 'return one',
    test: passes,
  },
  {
    name: 'gradients of all units in one type',
    fault: 'missing cast',
    file: move,
    from: 'r.reduceAs(unit)',
    to: "r.reduceAs('')",
    test: passes,
  },
  {
    name: 'terms of sums read as sums',
    fault: 'dropped check',
    file: 'compiler/shard/verify-terms.ts',
    from: ' || !carries[op.prim]?.(n, from)))',
    to: '))',
    test: passes,
  },
  {
    name: 'a gradient reduced again by each reader',
    fault: 'dropped term',
    file: 'compiler/shard/rules.ts',
    from: "    if (wanted && partial && !(passes && linear === 'joint')) return alike(s, wanted);\n",
    to: '',
    test: passes,
  },
  {
    name: 'parts of rows taken for rows',
    fault: 'dropped check',
    file: 'compiler/shard/placement.ts',
    from: 'rows % shard === 0 && ',
    to: '',
    test: passes,
  },
  {
    name: 'columns taken for rows',
    fault: 'dropped check',
    file: 'compiler/shard/placement.ts',
    from: ' && (first < 0 || long.slice(first).every((axis) => gone.includes(axis)))',
    to: '',
    test: passes,
  },
  {
    name: 'a region in a region is not localised',
    fault: 'dropped check',
    file: localise,
    from: "n.op.prim === 'call' ? localCall(n.op, want, mesh) : localOp(",
    to: 'localOp(',
    test: 'test/testing/laws.test.ts',
  },
];

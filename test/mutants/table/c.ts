/** Faults of the C that kernels are printed as, and of the C that runs them. */
import type { Row } from '../mutant.ts';

const print = 'backends/cpu/print.ts';
const written = 'compiler/kernel/written.ts';
const prelude = 'backends/cpu/prelude.ts';
const pool = 'backends/cpu/pool.ts';

export const c: readonly Row[] = [
  {
    name: 'select of the other side',
    fault: 'swapped operand',
    file: print,
    from: '`(${cond} ? ${x} : ${y})`',
    to: '`(${cond} ? ${y} : ${x})`',
  },
  {
    name: 'at least is more than',
    fault: 'off by one',
    file: 'compiler/kernel/symbols.ts',
    from: "ge: '>='",
    to: "ge: '>'",
  },
  {
    name: 'true is stored as 255',
    fault: 'missing cast',
    file: print,
    from: '__builtin_convertvector(${raw} & 1, u8x${lanes})',
    to: '__builtin_convertvector(${raw}, u8x${lanes})',
  },
  {
    name: 'a fused product without its sum',
    fault: 'dropped term',
    file: print,
    from: '${print(e.x, c)}, ${print(e.y, c)}, ${print(e.z, c)})`',
    to: '${print(e.x, c)}, ${print(e.y, c)}, ${print(e.y, c)})`',
  },
  {
    name: 'blocks of the second axis run on',
    fault: 'dropped term',
    file: written,
    from: '`${b} / ${x}${suffix} % ${y}${suffix}`',
    to: '`${b} / ${x}${suffix}`',
    test: 'test/cpu/run.test.ts',
  },
  {
    name: 'masked loads read anywhere',
    fault: 'dropped check',
    file: print,
    from: 'return e.mask ? `(${print(e.mask, c)} ? ${value} : 0)` : value;',
    to: 'return value;',
    test: 'test/cpu/expressions.test.ts',
  },
  {
    name: 'locals of one statement serve the next',
    fault: 'stale value',
    file: written,
    from: 'use(roots.map((e) => print(e, c)))',
    to: 'use(roots.map((e) => print(e, c)).reverse())',
  },
  {
    name: 'constants of one digit',
    fault: 'missing cast',
    file: 'backends/native/ctypes.ts',
    from: 'while (Math.fround(Number(x.toPrecision(digits))) !== x) digits++;',
    to: '',
  },
  {
    name: 'true is -1 as a number',
    fault: 'sign',
    file: prelude,
    from: "to === 'i32' ? `(${x} & 1)`",
    to: "to === 'i32' ? `(${x})`",
    test: 'test/cpu/expressions.test.ts',
  },
  {
    name: 'splats of bools are positive',
    fault: 'sign',
    file: prelude,
    from: '`-(${x})`',
    to: '`(${x})`',
  },
  {
    name: 'vectors of the smaller number',
    fault: 'swapped operand',
    file: prelude,
    from: "op === 'max' ? '>' : '<'",
    to: "op === 'max' ? '<' : '>'",
  },
  {
    name: 'lanes halved from the front only',
    fault: 'wrong order',
    file: prelude,
    from: 'join(part(0), part(half))',
    to: 'join(part(0), part(0))',
  },
  {
    name: 'ramps begin at 0',
    fault: 'dropped term',
    file: prelude,
    from: 'return base + (${v})',
    to: 'return (${v})',
  },
  {
    name: "the last block is nobody's",
    fault: 'off by one',
    file: pool,
    from: 'p->shares[t].end = l->blocks * (t + 1) / n;',
    to: 'p->shares[t].end = l->blocks * (t + 1) / n - (t + 1 == n);',
  },
  {
    name: 'shares overlap by a block',
    fault: 'off by one',
    file: pool,
    from: 'atomic_store_explicit(&p->shares[t].next, l->blocks * t / n, memory_order_relaxed);',
    to: 'atomic_store_explicit(&p->shares[t].next, l->blocks * t / n - (t > 0), memory_order_relaxed);',
    test: 'test/cpu/pool.test.ts',
  },
];

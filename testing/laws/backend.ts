/** What a backend computes: within the bound of float64, and the same bits however often, with however many threads, wherever. */
import type { HostData, Value } from '../../compiler/graph/types.ts';
import { compare } from '../bound.ts';
import { decode } from '../host.ts';
import type { Observation } from '../observe.ts';
import { castGraph, truth } from '../stages.ts';
import type { Law } from './law.ts';
import { halves } from './precision.ts';

const agrees: Law = {
  name: 'backend',
  says: 'the backend gives the float64 results within a bound computed from the program; integers, bools and random bits exactly',
  runs: true,
  check: (p, { seen, note }) => {
    const got = seen.once.map((d, i) => decode((p.graph.results[i] as Value).type.dtype, d));
    const { wrong, checked, elements } = compare(truth(p, seen.precision, seen.arithmetic), got);
    if (seen.precision !== 'f32') note?.('contractions of halves', halves(castGraph(p.graph, seen.precision)));
    note?.('elements', elements);
    note?.('elements with a bound', checked);
    return wrong;
  },
};

type Way = 'again' | 'threads' | 'poisoned';
const bytes = (d: HostData): Buffer => Buffer.from(d.buffer, d.byteOffset, d.byteLength);
const equal =
  (way: Way) =>
  (a: Observation): string | undefined => {
    const r = a.once.findIndex((d, i) => !bytes(d).equals(bytes(a[way][i] as HostData)));
    if (r < 0) return undefined;
    const [x, y] = [a.once[r], a[way][r]] as [HostData, HostData];
    const i = x.findIndex((v, k) => !Object.is(v, y[k]));
    return `result ${r}, element ${i}: ${y[i]} is not ${x[i]}`;
  };
const same = (name: string, says: string, way: Way): Law => ({
  name,
  says,
  runs: true,
  check: (_, { seen }) => equal(way)(seen),
});

const together: Law = {
  name: 'threads',
  says: 'one thread and two give the same bits',
  runs: true,
  check: (_, { seen, note }) => {
    note?.('launches on two threads', seen.shared);
    return equal('threads')(seen);
  },
};

export const backendLaws: readonly Law[] = [
  agrees,
  same('repeat', 'a second run gives the same bits', 'again'),
  together,
  same('poison', 'an arena full of NaN gives the same bits: nobody reads what nobody wrote', 'poisoned'),
];

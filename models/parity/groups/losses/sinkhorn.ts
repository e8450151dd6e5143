/** Sinkhorn-Knopp targets of one batch, for each pair of a temperature and a number of rounds that an output names. */
import { type F32, ones, type Scalar } from '../../../../index.ts';
import { sinkhorn } from '../../../sinkhorn.ts';
import { malformed } from '../../catalogue.ts';
import { filled, type Runner } from '../../context.ts';

export const sinkhornTargets: Runner = async (c, context) => {
  const wanted = c.outputs.map(({ name }) => {
    const m = /^q_temp([\d.e+-]+)_it(\d{1,3})$/.exec(name);
    if (!m) throw malformed(`case ${c.id}`, `output ${name} names no temperature and number of rounds`);
    return { name, temp: Number(m[1]), rounds: Number(m[2]) };
  });
  const teacher = filled(c, 'teacher');
  const out = await context.run(
    (logits: F32<'M K'>, temps: readonly Scalar[]) =>
      wanted.map(({ rounds }, i) => sinkhorn(temps[i] as Scalar, rounds)(logits, ones(`${teacher.shape[0]}` as 'M'))),
    [teacher, wanted.map((w) => w.temp)],
  );
  return new Map(wanted.map(({ name }, i) => [name, out[i]!]));
};

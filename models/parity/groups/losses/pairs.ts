/** Cross-entropy of class tokens: over all pairs of a student crop and a teacher crop, and of one set of rows against another. */
import { z } from 'zod';
import { type F32, rearrange, softmax, stack, valueAndGrad } from '../../../../index.ts';
import { crossEntropy, dinoLoss } from '../../../losses.ts';
import { configOf } from '../../catalogue.ts';
import type { Numbers } from '../../compare.ts';
import { filled, has, numbered, type Runner } from '../../context.ts';

const config = z.object({ student_temp: z.number(), teacher_temp: z.number() });

/** Crops of equal shape, each [B K]. */
type Crops = readonly F32<string>[];

export const pairs: Runner = async (c, context) => {
  const { student_temp, teacher_temp } = configOf(c, config);
  const students = numbered(c, 'student');
  const teachers = numbered(c, 'teacher_logits');
  const global = has(c, 'student_global') ? { rows: filled(c, 'student_global') } : {};
  const out = await context.run(
    (s: Crops, t: Crops, g: { readonly rows?: F32<string> }) => {
      const targets = stack(t.map((logits) => softmax(logits.div(teacher_temp))));
      const of = valueAndGrad((x: Crops) => dinoLoss(student_temp)(stack(x), targets))(s);
      const rows = rearrange('t b k -> (t b) k', targets);
      return g.rows ? { of, global: valueAndGrad((x: F32<string>) => crossEntropy(student_temp)(x, rows))(g.rows) } : { of };
    },
    [students, teachers, global],
  );
  const [loss, grads] = out.of;
  const made = new Map<string, Numbers>([['loss', loss], ...grads.map((g, i): [string, Numbers] => [`grad/student${i}`, g])]);
  if (out.global) made.set('loss_global', out.global[0]).set('grad/student_global', out.global[1]);
  return made;
};

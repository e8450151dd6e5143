/**
 * What `compile` and `explain` say of an export that does more than compute: the rules of `fovea check` for that export alone, as warnings on
 * standard error. The program is as it was traced, and the command goes on.
 */
import { remembering } from '../compiler/frontend/disk.ts';
import { inOrder, printFindings } from '../compiler/frontend/findings.ts';
import { shown } from './check/print.ts';
import { ownTypes } from './own-copy.ts';

/** `name` may have arguments: of `linear(4, 8)` the function is looked at. */
export const warnOfImpure = async ({ file, name }: { readonly file: string; readonly name: string }): Promise<void> => {
  // of JavaScript no types are known
  if (!/\.[cm]?tsx?$/.test(file)) return;
  const [{ impuritiesOf }, { tsc }] = await Promise.all([
    import('../compiler/frontend/check.ts'),
    import('../compiler/frontend/typescript.ts'),
  ]);
  const { disk } = remembering(tsc.sys);
  const found = impuritiesOf(file, /^[\w$]*/.exec(name)?.[0] ?? '', { disk, standIn: ownTypes() });
  if (found.length === 0) return;
  const warnings = inOrder(found).map((f) => ({ ...f, severity: 'warning' as const }));
  console.error(printFindings(warnings, 'text', { show: shown, lines: () => [], pretty: false, version: '' }));
};

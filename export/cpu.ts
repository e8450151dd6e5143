/**
 * The loader of a program that was exported for processors: `fovea compile --backend cpu` bundles it to index.js, with nothing of the
 * compiler in it. It needs Node, and no package.
 *
 *   const step = await load({ threads: 4 });
 */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { type Addon, throughAddon } from '../backends/cpu/addon.ts';
import { threadCount } from '../backends/cpu/machine.ts';
import { load as loadPlan } from '../backends/cpu/runtime.ts';
import { FoveaError } from '../compiler/error.ts';
import { caller, toHost } from '../program.ts';
import { type Loaded, loaded, type Manifest, openExport } from './document.ts';

const flagsHere = (): readonly string[] | undefined => {
  try {
    return /^(?:flags|Features)\s*:(.*)$/m.exec(readFileSync('/proc/cpuinfo', 'utf8'))?.[1]?.trim().split(/\s+/);
  } catch {
    return undefined;
  }
};

/** FV0205. A missing instruction would end the process without a word. */
const check = ({ needs: { platform, arch, flags = [] } }: Manifest): void => {
  const here = flagsHere();
  const missing = here ? flags.filter((f) => !here.includes(f)) : [];
  if (platform === process.platform && arch === process.arch && missing.length === 0) return;
  const what =
    missing.length > 0 ? ` with ${missing.slice(0, 8).join(', ')}${missing.length > 8 ? ` and ${missing.length - 8} more` : ''}` : '';
  throw new FoveaError(
    'FV0205',
    `the program is exported for ${platform} on ${arch}${what}, which this machine ${what ? 'has' : 'is'} not`,
    {
      hint: 'Export it here, or for a level that both have: --target x86-64-v3.',
    },
  );
};

export { FoveaError, toHost };

const threadsOf = (threads: number | undefined): number => {
  if (threads === undefined) return threadCount(availableParallelism());
  if (Number.isInteger(threads) && threads >= 1 && threads <= 256) return threads;
  throw new FoveaError('FV0503', `load: threads ${String(threads)}: expected a whole number from 1 to 256`, {
    hint: 'Leave it out for as many as there are processors.',
  });
};

/** FV0204, FV0205; FV0503: no number of threads; FV0202: no memory for the arena. `threads`: 1 to 256; as many as there are processors otherwise. */
export const load = async ({ threads }: { readonly threads?: number } = {}): Promise<Loaded> => {
  const workers = threadsOf(threads);
  const base = import.meta.url;
  const { manifest, document, plan, text, bytes } = await openExport(base, 'cpu');
  check(manifest);
  // the system loads these by their names
  for (const name of ['native.node', 'kernels.so']) bytes(name);
  let executable: ReturnType<typeof loadPlan>;
  try {
    const addon = createRequire(base)('./native.node') as Addon;
    const native = throughAddon(addon, fileURLToPath(new URL('kernels.so', base)));
    const symbols = JSON.parse(await text('symbols.json')) as readonly string[];
    executable = loadPlan(plan, { symbols, compiled: 0 }, native, { threads: workers, poison: 0, shareAll: false });
  } catch (e) {
    if (e instanceof FoveaError) throw e;
    throw new FoveaError('FV0205', `the system does not load the kernels: ${e instanceof Error ? e.message : String(e)}`, {
      hint: 'Export the program on this machine.',
      cause: e,
    });
  }
  return loaded(caller({ executable, wide: false, ...document }));
};

/**
 * Finished plans, kept in a browser's cache storage, so that the second visit to a page runs none of the compiler's passes. What is kept belongs to one
 * version of the code: a page that is built anew finds nothing, and what older versions have put goes.
 *
 *   const plans = await plansInCache(await versionOf(import.meta.url));
 *   const backend = await webgpu({ plans });
 */
import type { PlanStore } from '../../compiler/target.ts';
import { within } from './life.ts';

/** Seconds: whoever takes longer than compiling may take is not waited for. */
const patience = 10;

/** The part of a browser's `caches` that is used; types of browsers are not known to code that also runs in Node. */
export interface Caches {
  keys(): Promise<readonly string[]>;
  delete(name: string): Promise<boolean>;
  open(name: string): Promise<{
    match(place: string): Promise<Response | undefined>;
    put(place: string, answer: Response): Promise<void>;
  }>;
}

/**
 * A hash of a script, for the version of a bundle that has the whole compiler in it: it changes whenever the compiler or the page does. Of modules that
 * are loaded file by file it would be that of one file only: name a version of your own there. Undefined where the script cannot be read again.
 */
export const versionOf = async (url: string): Promise<string | undefined> => {
  try {
    const answer = await fetch(url, { signal: AbortSignal.timeout(1000 * patience) });
    if (!answer.ok) return undefined;
    const hash = await crypto.subtle.digest('SHA-256', await answer.arrayBuffer());
    return Array.from(new Uint8Array(hash).subarray(0, 16), (b) => b.toString(16).padStart(2, '0')).join('');
  } catch {
    return undefined;
  }
};

/**
 * The plans of one version of a page; `name` tells pages of one origin apart. Undefined without a version, and where there is no cache storage: outside of
 * https and localhost, in some private windows. Text that is damaged counts as nothing, as with any store.
 */
export const plansInCache = async (version: string | undefined, name = 'fovea'): Promise<PlanStore | undefined> => {
  const { caches } = globalThis as { readonly caches?: Caches };
  if (version === undefined || !caches) return undefined;
  const [prefix, own] = [`${name} plans `, `${name} plans ${version}`];
  // caches are asked by address: this one is of no server
  const place = (key: string): string => `https://plans.invalid/${key}`;
  const opened = async (): Promise<PlanStore> => {
    for (const old of await caches.keys()) if (old.startsWith(prefix) && old !== own) await caches.delete(old);
    const cache = await caches.open(own);
    const get = async (key: string): Promise<string | undefined> => (await cache.match(place(key)))?.text();
    const put = (key: string, text: string): Promise<void> => cache.put(place(key), new Response(text));
    return {
      get: (key) => within(patience, 'plans', get(key)).catch(() => undefined),
      // a full disk: the plan is made again
      put: (key, text) => within(patience, 'plans', put(key, text)).catch(() => {}),
    };
  };
  return within(patience, 'plans', opened()).catch(() => undefined);
};

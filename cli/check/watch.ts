/**
 * `fovea check --watch`: after every change of a file in a folder of the program the same checker looks again, at what may be another
 * than it was, and a process that is ready already traces.
 */
import { watch } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { FoveaError } from '../../compiler/error.ts';
import type { Finding } from '../../compiler/frontend/findings.ts';
import { check, loadChecker, since } from './once.ts';
import { tracer } from './tracer.ts';

export const checkAgain = async (files: readonly string[], print: (found: readonly Finding[]) => void): Promise<void> => {
  let [next, pending, running] = [tracer(files), undefined as NodeJS.Timeout | undefined, false];
  const { checker, code } = await loadChecker(files);
  const folders = new Set<string>();
  const look = async (): Promise<void> => {
    pending = undefined;
    running = true;
    const [from, mine] = [performance.now(), next];
    try {
      const round = await check(checker, mine);
      print(round.findings);
      console.error(`${new Date().toLocaleTimeString()}: ${round.time}, in all ${since(from)}`);
      follow(round.found.files);
    } catch (e) {
      // the next edit may be one that can be checked
      console.error(e instanceof FoveaError ? e.report() : e);
    }
    mine.end();
    next = tracer(files);
    running = false;
    // what changed while it ran
    if (pending) schedule();
  };
  const schedule = (): void => {
    clearTimeout(pending);
    pending = setTimeout(() => {
      if (!running) void look();
    }, 20);
  };
  const follow = (all: readonly string[]): void => {
    for (const folder of new Set(all.map(dirname))) {
      if (folders.has(folder)) continue;
      folders.add(folder);
      watch(folder, (_, name) => {
        // files that are not there yet count too: an import may be waiting for one
        if (name === null || !/\.(?:[cm]?[jt]sx?|json)$/.test(name)) return;
        checker.changed(resolve(folder, name));
        schedule();
      });
    }
  };
  follow(files);
  await look();
  checker.learn();
  await code.keep();
  console.error(`watching ${folders.size} folders`);
};

/**
 * `fovea check --watch`: after every change of a file in a folder of the program the same checker looks again, at what may be another
 * than it was, and a process that is ready already traces.
 */
import { type FSWatcher, watch } from 'node:fs';
import { dirname, resolve } from 'node:path';
import type { Checker } from '../../compiler/frontend/check.ts';
import { report } from '../report.ts';
import { type Checked, check, loadChecker, since } from './once.ts';
import { filesOf, type Target } from './targets.ts';
import { tracer } from './tracer.ts';

export interface Watching {
  /** Now, and after every change in the folders of these files and of those that it gave. */
  readonly look: () => Promise<readonly string[]>;
  readonly changed: (file: string) => void;
}

/** Looks for the first time, and goes on until it is closed. What `look` throws is told: the next edit may be one that can be checked. */
export const watching = async (files: readonly string[], { look, changed }: Watching): Promise<{ readonly close: () => void }> => {
  let [pending, running] = [undefined as NodeJS.Timeout | undefined, false];
  const folders = new Map<string, FSWatcher>();
  const again = async (): Promise<void> => {
    pending = undefined;
    running = true;
    try {
      follow(await look());
    } catch (e) {
      report(e, process.argv.includes('--debug'));
    }
    running = false;
    // what changed while it ran
    if (pending) schedule();
  };
  const schedule = (): void => {
    clearTimeout(pending);
    pending = setTimeout(() => {
      if (!running) void again();
    }, 20);
  };
  const follow = (all: readonly string[]): void => {
    for (const folder of new Set(all.map(dirname))) {
      if (folders.has(folder)) continue;
      const watcher = watch(folder, (_, name) => {
        // files that are not there yet count too: an import may be waiting for one
        if (name === null || !/\.(?:[cm]?[jt]sx?|json)$/.test(name)) return;
        changed(resolve(folder, name));
        schedule();
      });
      folders.set(folder, watcher);
    }
  };
  follow(files);
  await again();
  return {
    close: () => {
      clearTimeout(pending);
      for (const w of folders.values()) w.close();
    },
  };
};

export const checkAgain = async (targets: readonly Target[], seconds: number, print: (checked: Checked) => void): Promise<void> => {
  const files = filesOf(targets);
  let next = tracer(targets, seconds);
  const { checker, code } = await loadChecker(files);
  /** The files that are looked at, and what ends that: a loop without end would go on after the edit that mends it. */
  let [current, stop] = [new Set(files), undefined as (() => void) | undefined];
  const noting: Checker = {
    ...checker,
    round: () => {
      const round = checker.round();
      current = new Set(round.files);
      return round;
    },
  };
  const look = async (): Promise<readonly string[]> => {
    const [from, mine] = [performance.now(), next];
    let stopped = false;
    stop = () => {
      stopped = true;
      mine.end();
    };
    try {
      const round = await check(noting, mine);
      // what a trace says that was ended is not all of it
      if (stopped) return round.found.files;
      print(round);
      console.error(`${new Date().toLocaleTimeString()}: ${round.time}, in all ${since(from)}`);
      return round.found.files;
    } finally {
      stop = undefined;
      mine.end();
      next = tracer(targets, seconds);
    }
  };
  await watching(files, {
    look,
    changed: (file) => {
      checker.changed(file);
      // one that the program writes itself, as it is traced, is none of these
      if (current.has(file)) stop?.();
    },
  });
  checker.learn();
  await code.keep();
  console.error('watching');
};

/** The subcommands of `fovea` by name, in the order of the help. Each is loaded when it is asked for: loading all takes half a second. */
import type { Command } from 'commander';

export type Load = () => Promise<() => Command>;

export const commands: Readonly<Record<string, Load>> = {
  demo: async () => (await import('./demo.ts')).demoCommand,
  train: async () => (await import('./train.ts')).trainCommand,
  features: async () => (await import('./features.ts')).featuresCommand,
  parity: async () => (await import('./parity.ts')).parityCommand,
  fuzz: async () => (await import('./fuzz.ts')).fuzzCommand,
  convert: async () => (await import('./convert.ts')).convertCommand,
  gradcheck: async () => (await import('./gradcheck.ts')).gradcheckCommand,
  check: async () => (await import('./check.ts')).checkCommand,
  compile: async () => (await import('./compile.ts')).compileCommand,
  profile: async () => (await import('./profile.ts')).profileCommand,
  explain: async () => (await import('./explain.ts')).explainCommand,
  bench: async () => (await import('./bench.ts')).benchCommand,
  shard: async () => (await import('./shard.ts')).shardCommand,
};

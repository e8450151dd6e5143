/**
 * The one kind of error that users see: a code, a sentence, the user's source line, the scope, a suggestion.
 * docs/errors.md has a section for every code (a test compares the two lists). Anything else that is thrown is a bug of
 * Fovea and keeps its stack. This file imports nothing, so every room may use it.
 *
 *   throw new FoveaError('FV0001', 'add: cannot broadcast [B N 384] with [P 384]: N vs P', { loc, hint: '...' })
 */

/** Where a user's call stands. `line` and `col` count from 1. */
export interface Loc {
  readonly file: string;
  readonly line: number;
  readonly col: number;
}

/**
 * Codes by room: 00xx language, 01xx graph and transformations, 02xx lowering and plan, 03xx backends, 04xx data and
 * weights, 05xx command line, 07xx sharding, 08xx ranks in processes of their own.
 */
export const codes = {
  FV0001: 'shapes do not fit',
  FV0002: 'dtypes do not fit',
  FV0003: 'malformed pattern',
  FV0004: 'a traced tensor has no value',
  FV0005: 'size unknown',
  FV0006: 'parameter tree does not fit',
  FV0007: 'reserved name',
  FV0101: 'malformed graph',
  FV0102: 'malformed IR text',
  FV0103: 'not differentiable',
  FV0201: 'malformed kernel',
  FV0202: 'plan does not fit in memory',
  FV0203: 'malformed plan text',
  FV0204: 'damaged export',
  FV0205: 'exported for another machine',
  FV0301: 'no C compiler',
  FV0302: 'C compiler failed',
  FV0303: 'unknown backend',
  FV0304: 'stale tensor',
  FV0305: 'wrong input',
  FV0306: 'lazy tensor does not fit',
  FV0307: 'no WebGPU',
  FV0308: 'WebGPU device lost',
  FV0309: 'WebGPU device does not answer',
  FV0310: 'no CUDA library',
  FV0311: 'no usable GPU',
  FV0312: 'the CUDA driver refuses',
  FV0313: 'a kernel failed on the GPU',
  FV0401: 'no images found',
  FV0402: 'cannot read a folder or file',
  FV0403: 'broken image',
  FV0404: 'bundled data missing or damaged',
  FV0405: 'malformed weight file',
  FV0406: 'weights do not fit',
  FV0407: 'cannot write',
  FV0408: 'data settings do not fit',
  FV0409: 'the loss diverged',
  FV0410: 'unsafe or unsupported pickle',
  FV0411: 'weights are not finite',
  FV0412: 'unknown weight format',
  FV0413: 'malformed recorded case',
  FV0414: 'recorded with another formula',
  FV0415: 'malformed recipe',
  FV0416: 'features are not finite',
  FV0501: 'no space left',
  FV0502: 'no access to a path',
  FV0503: 'malformed option',
  FV0595: 'two copies of Fovea',
  FV0596: 'the function throws',
  FV0597: 'a job of fuzz ended early',
  FV0598: 'a program that does not end',
  FV0615: 'malformed precision',
  FV0616: 'unknown or foreign target',
  FV0617: 'unknown way to tune',
  FV0701: 'malformed mesh',
  FV0702: 'cannot lie so on the ranks',
  FV0703: 'broken schedule of collectives',
  FV0704: 'ranks disagree',
  FV0801: 'no MPI',
  FV0802: 'communication failed',
  FV0803: 'ranks started differently',
  FV0804: 'incomplete or damaged checkpoint',
  FV0901: 'changes what is outside',
  FV0902: 'asked while tracing',
  FV0903: 'decides by a tensor',
  FV0904: 'asynchronous body',
  FV0905: 'result not used',
  FV0906: 'parameter not used',
  FV0907: 'tensor of no trace',
} as const;

export type Code = keyof typeof codes;

export interface ErrorDetails {
  readonly loc?: Loc | undefined;
  /** Path of the module that was running, e.g. `student/blocks.3/attn`. */
  readonly scope?: string | undefined;
  /** What to do, as one sentence. */
  readonly hint?: string | undefined;
  readonly cause?: unknown;
}

export class FoveaError extends Error {
  readonly code: Code;
  readonly loc: Loc | undefined;
  readonly scope: string | undefined;
  readonly hint: string | undefined;
  constructor(code: Code, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.name = 'FoveaError';
    this.code = code;
    this.loc = details.loc;
    this.scope = details.scope || undefined;
    this.hint = details.hint;
  }
  /** `FV0001: message` and, each on a line of its own where known: place, scope, hint. */
  report(): string {
    const at = this.loc && `  at ${this.loc.file}:${this.loc.line}:${this.loc.col}`;
    return [`${this.code}: ${this.message}`, at, this.scope && `  in ${this.scope}`, this.hint && `  ${this.hint}`]
      .filter(Boolean)
      .join('\n');
  }
}

/** An error with the user's place where it has none yet. */
export const located = (e: unknown, loc: Loc | undefined): unknown =>
  e instanceof FoveaError && !e.loc && loc ? new FoveaError(e.code, e.message, { loc, scope: e.scope, hint: e.hint, cause: e }) : e;

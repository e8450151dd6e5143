/**
 * koffi, made ready. Foreign calls run on its stacks, 128 KiB by default: the arrays of kernels and the compilers in libraries need more. It takes no
 * configuration once a library is loaded, so whoever loads one takes koffi from here; models/weights/source.ts, which may be first, sets the same.
 */
import koffi from 'koffi';

const stack = 16 << 20;
if ((koffi.config().sync_stack_size ?? 0) < stack) koffi.config({ ...koffi.config(), sync_stack_size: stack, async_stack_size: stack });

export { koffi };

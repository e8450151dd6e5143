/**
 * A model from nothing: declare it, write its loss, compile the training step, train. Run with `npx tsx examples/quickstart.ts`.
 * The shapes in the strings are checked while you type; change one and tsc says what does not fit.
 */
import { pathToFileURL } from 'node:url';
import { cpu } from '../backends/cpu/index.ts';
import {
  apply,
  compile,
  type DimArg,
  einsum,
  type F32,
  fn,
  gelu,
  host,
  init,
  initializers,
  mean,
  module,
  type Params,
  param,
  paramSpecs,
  type Scalar,
  spec,
  treeMap,
  valueAndGrad,
} from '../index.ts';

const linear = <I extends DimArg, O extends DimArg>(inputs: I, outputs: O) =>
  module(
    { I: inputs, O: outputs },
    () => ({ weight: param('O I', initializers.truncNormal(0.3)), bias: param('O', initializers.zeros) }),
    ['... I'],
    (p, x) => einsum('... i, o i -> ... o', x, p.weight).add(p.bias),
  );

export const model = module(
  { H: 64 },
  ({ H }) => ({ up: linear(2, H), down: linear(H, 1) }),
  ['B 2'],
  (p, x) => p.down(gelu(p.up(x))),
);
export type Model = Params<typeof model>;

const squaredError = fn(['B 1', 'B 1'], (a, b) => mean('b n ->', a.sub(b).mul(a.sub(b))));

export const step = (params: Model, x: F32<'B 2'>, y: F32<'B 1'>, lr: Scalar) => {
  const [loss, grads] = valueAndGrad((p: Model) => squaredError(apply(model, p)(x), y))(params);
  return { params: treeMap((p, g) => p.sub(g.mul(lr)), params, grads), loss };
};

/** The target: y = x0 * x1 on a square grid of `side` points a side. */
export const square = (side: number) => {
  const grid = Array.from({ length: side * side }, (_, i) => [(2 * (i % side)) / side - 1, (2 * Math.floor(i / side)) / side - 1] as const);
  const y = Float32Array.from(grid, ([a, b]) => a * b);
  return { x: host(Float32Array.from(grid.flat()), [grid.length, 2]), y: host(y, [grid.length, 1]) };
};

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const B = 256;
  const train = await compile(step, [paramSpecs(model), spec('B 2'), spec('B 1'), spec('')], { backend: cpu(), dims: { B }, donate: [0] });
  const { x, y } = square(16);
  let { params, loss } = await train(init(model, 0), x, y, 0.1);
  console.log(`loss before: ${(await loss.read()).data[0]?.toFixed(4)}`);
  for (let i = 0; i < 1000; i++) ({ params, loss } = await train(params, x, y, 0.1));
  console.log(`loss after 1000 steps: ${(await loss.read()).data[0]?.toFixed(4)}`);
  train.dispose();
}

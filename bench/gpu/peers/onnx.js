/** ONNX models of a few nodes, written as the protocol buffers that they are: field numbers are those of onnx.proto. */
const varint = (n) => {
  const out = [];
  for (let v = n; ; v = Math.floor(v / 128)) {
    if (v < 128) return [...out, v];
    out.push((v % 128) + 128);
  }
};
const int = (field, n) => [...varint(8 * field), ...varint(n)];
const bytes = (field, data) => [...varint(8 * field + 2), ...varint(data.length), ...data];
const text = (field, s) => bytes(field, [...new TextEncoder().encode(s)]);

const attribute = {
  int: (name, n) => bytes(5, [...text(1, name), ...int(3, n), ...int(20, 2)]),
  ints: (name, list) => bytes(5, [...text(1, name), ...list.flatMap((n) => int(8, n)), ...int(20, 7)]),
};
const node = (type, inputs, output, ...attributes) =>
  bytes(1, [...inputs.flatMap((i) => text(1, i)), ...text(2, output), ...text(4, type), ...attributes.flat()]);
/** A tensor of float32 (1), of a shape. */
const value = (field, name, shape) =>
  bytes(field, [
    ...text(1, name),
    ...bytes(
      2,
      bytes(1, [
        ...int(1, 1),
        ...bytes(
          2,
          shape.flatMap((d) => bytes(1, int(1, d))),
        ),
      ]),
    ),
  ]);

const model = (nodes, inputs, output) => {
  const graph = [...nodes.flat(), ...text(2, 'g'), ...inputs.flatMap((s, i) => value(11, `x${i}`, s)), ...value(12, 'y', output)];
  return Uint8Array.from([...int(1, 8), ...bytes(7, graph), ...bytes(8, int(2, 17))]);
};

/** x0 x1' */
export const gemmModel = ([x, w]) => model([node('Gemm', ['x0', 'x1'], 'y', attribute.int('transB', 1))], [x, w], [x[0], w[0]]);

/** softmax(x0 x1') x2 */
export const attentionModel = (shapes) =>
  model(
    [
      node('Transpose', ['x1'], 't', attribute.ints('perm', [0, 1, 3, 2])),
      node('MatMul', ['x0', 't'], 's'),
      node('Softmax', ['s'], 'p', attribute.int('axis', 3)),
      node('MatMul', ['p', 'x2'], 'y'),
    ],
    shapes,
    shapes[0],
  );

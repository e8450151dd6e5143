/**
 * What a device says that it has beyond what all have, tried out: the language leaves much open. Whether neighbours of a workgroup are neighbours of
 * a subgroup is not said; exchanges are only used if every thread gets the number of the one that it asked. Nor is it said how a float is
 * rounded to a half, and whether subnormal halves are kept; the type is only used if its casts give the bits of ours, for all halves, on both
 * sides of the middle between them, and in it.
 */
import type { Life } from './life.ts';
import { prelude } from './prelude.ts';

export interface Abilities {
  readonly f16: boolean;
  /** As Target.subgroup. */
  readonly subgroup: number;
}
/** What every device has. */
export const none: Abilities = { f16: false, subgroup: 1 };

const counter = '@group(0) @binding(0) var<storage, read_write> wrong: array<atomic<u32>>;';

/** 256 blocks of 256 threads: one for each half. */
const halves = (): string => {
  const fns = prelude();
  const [wide, narrow] = [fns.use('f16_f32', 1), fns.use('f32_f16', 1)];
  return `enable f16;
${counter}
@group(0) @binding(1) var<storage, read_write> memory: array<f16>;
${fns.text()}
fn same(x: u32, y: u32) -> bool { return x == y || ((x & 0x7fffu) > 0x7c00u && (y & 0x7fffu) > 0x7c00u); }
@compute @workgroup_size(256) fn main(@builtin(global_invocation_id) at: vec3<u32>) {
  memory[at.x] = bitcast<vec2<f16>>(at.x).x;
  let wide = bitcast<u32>(f32(memory[at.x]));
  let want = bitcast<u32>(${wide}(at.x));
  var bad = wide != want && !((wide & 0x7fffffffu) > 0x7f800000u && (want & 0x7fffffffu) > 0x7f800000u);
  var more = array<u32, 6>(0u, 0xfffu, 0x1000u, 0x1001u, 0x1fffu, 0x800u);
  for (var k = 0; k < 6; k++) {
    let x = bitcast<f32>(want + more[k]);
    bad = bad || !same(bitcast<u32>(vec2<f16>(f16(x), 0h)), ${narrow}(x));
  }
  if (bad) { atomicAdd(&wrong[0], 1u); }
}`;
};

const exchanges = (threads: number, subgroup: number): string => `enable subgroups;
${counter}
@compute @workgroup_size(${threads}) fn main(@builtin(local_invocation_index) thread: u32) {
  ${Array.from({ length: Math.log2(subgroup) }, (_, k) => `if (subgroupShuffleXor(thread, ${2 ** k}u) != (thread ^ ${2 ** k}u)) { atomicAdd(&wrong[0], 1u); }`).join('\n  ')}
}`;

/** How often a program counted something wrong; Infinity where it does not even compile. */
const faults = async (device: GPUDevice, life: Life, code: string, blocks: number): Promise<number> => {
  device.pushErrorScope('validation');
  const buffer = (size: number, usage: number): GPUBuffer => device.createBuffer({ size, usage });
  const { STORAGE, COPY_SRC, COPY_DST, MAP_READ } = GPUBufferUsage;
  const [wrong, memory, out] = [buffer(4, STORAGE | COPY_SRC), buffer(1 << 17, STORAGE), buffer(4, MAP_READ | COPY_DST)];
  try {
    const module = device.createShaderModule({ code });
    const pipeline = device.createComputePipeline({ layout: 'auto', compute: { module, entryPoint: 'main' } });
    const entries = [wrong, memory]
      .slice(0, code.includes('@binding(1)') ? 2 : 1)
      .map((b, binding) => ({ binding, resource: { buffer: b } }));
    const group = device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries });
    const encoder = device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    pass.setPipeline(pipeline);
    pass.setBindGroup(0, group);
    pass.dispatchWorkgroups(blocks);
    pass.end();
    encoder.copyBufferToBuffer(wrong, 0, out, 0, 4);
    device.queue.submit([encoder.finish()]);
    const refused = device.popErrorScope();
    if (await life.wait('trying out the device', refused)) return Number.POSITIVE_INFINITY;
    await life.wait('trying out the device', out.mapAsync(GPUMapMode.READ));
    return new Uint32Array(out.getMappedRange())[0] as number;
  } finally {
    for (const b of [wrong, memory, out]) b.destroy();
  }
};

/** `least` is the smallest subgroup that the adapter may choose. FV0308, FV0309. */
export const abilitiesOf = async (device: GPUDevice, life: Life, least: number): Promise<Abilities> => {
  const works = async (code: string, blocks: number): Promise<boolean> => (await faults(device, life, code, blocks)) === 0;
  const f16 = device.features.has('shader-f16') && (await works(halves(), 256));
  const subgroup = device.features.has('subgroups') ? Math.min(32, 2 ** Math.floor(Math.log2(Math.max(1, least)))) : 1;
  // the fewest and the most threads that kernels have
  const together = subgroup > 1 && (await works(exchanges(32, subgroup), 4)) && (await works(exchanges(256, subgroup), 4));
  return { f16, subgroup: together ? subgroup : 1 };
};

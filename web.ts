/**
 * The face for browsers: what `fovea` gives, and the WebGPU backend of the browser. Nothing here or in `fovea/models` that trains and extracts
 * imports anything of Node.
 *
 *   import { compile, webgpu } from 'fovea/web';
 *   const step = await compile(trainStep, specs, { backend: await webgpu() });
 */
export { plansInCache, versionOf, type WebGpuBackend, webgpu } from './backends/webgpu/browser.ts';
export * from './index.ts';

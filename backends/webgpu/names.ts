/** Names of K as names of WGSL, which keeps many for itself. */

// keywords and names that WGSL keeps for itself, as far as kernels might use them, and the functions that this printer calls
const reserved = new Set(
  'alias break case const const_assert continue continuing default diagnostic discard else enable false fn for if let loop override requires return struct switch true var while abs active all any array as asm async atomic attribute auto await bitcast bool class clamp constant count common demote do dot end enum exp export extends extern external f16 f32 filter final finally floor fma friend from get global group handle i32 import in inline interface is line local lowp main mat2x2 max mediump meta min mod module move mut new nil noinline null of package packed part pass patch pixel pointer precise precision premerge priv private ptr pub public ref register resource round sample sampler select self set shared signed sign sin smooth sqrt static std storage sum super target template texture this trait try type typedef u32 union uniform unless unorm unsafe unsized use using varying vec2 vec3 vec4 vector virtual void volatile where with workgroup writeonly yield'.split(
    ' ',
  ),
);
/** Two underscores in a row are the language's, too. */
export const legal = (id: string): string =>
  reserved.has(id) || /^(fv|b_|t\d+$)/.test(id) || id.includes('__') ? `v_${id.replace(/__+/g, '_')}` : id;

/** Of a vector. */
export const components = ['x', 'y', 'z', 'w'] as const;

/** What a user of the models sees in the editor: names of sizes in every type, one sentence where shapes do not fit. */
import { expectTypeOf, it } from 'vitest';
import { apply, type F32, type Params, type Scalar, size, type Tensor } from '../../dsl/index.ts';
import type { Batch, Network, State } from '../../models/dinov2.ts';
import { dinoHead } from '../../models/heads.ts';
import { attention, linear, mlp, swiglu } from '../../models/layers.ts';
import { dinoLoss, ibotLoss, koleoLoss } from '../../models/losses.ts';
import { demo } from '../../models/recipes.ts';
import { crop, encode, type Features, type VitParams, vit } from '../../models/vit.ts';

// Bodies are checked by the compiler; nothing here runs.
const types = (_: () => void): void => {};

it('names the sizes of parameters', () => {
  type Block = VitParams['blocks'][number];
  expectTypeOf<Block['attn']['qkv']['weight']>().toEqualTypeOf<F32<'3*D D'>>();
  expectTypeOf<Block['norm1']['weight']>().toEqualTypeOf<F32<'D'>>();
  expectTypeOf<VitParams['pos_embed']>().toEqualTypeOf<F32<'1 G+1 D'>>();
  expectTypeOf<VitParams['patch_embed']['proj']['weight']>().toEqualTypeOf<F32<'D I P Q'>>();
  expectTypeOf<Network['dino_head']['last_layer']['weight_g']>().toEqualTypeOf<F32<'K 1'>>();
  expectTypeOf<State['student']>().toEqualTypeOf<Network>();
  const layer = linear(384, size('F', 1536));
  expectTypeOf<Params<typeof layer>['weight']>().toEqualTypeOf<F32<'F 384'>>();
});

it('carries sizes through layers, losses and the backbone', () => {
  types(() => {
    const x = {} as F32<'2*B N+1 384'>;
    expectTypeOf(apply(attention(384, 6), {} as Params<ReturnType<typeof attention<384, 6>>>)(x)).toEqualTypeOf<F32<'2*B N+1 384'>>();
    expectTypeOf(apply(mlp(384, 1536), {} as Params<ReturnType<typeof mlp<384, 1536>>>)(x)).toEqualTypeOf<F32<'2*B N+1 384'>>();
    expectTypeOf(apply(swiglu(384, 1024), {} as Params<ReturnType<typeof swiglu<384, 1024>>>)(x)).toEqualTypeOf<F32<'2*B N+1 384'>>();
    expectTypeOf(dinoLoss(0.1)({} as F32<'L B K'>, {} as F32<'2 B K'>)).toEqualTypeOf<Scalar>();
    expectTypeOf(ibotLoss(0.1)({} as F32<'U K'>, {} as F32<'U K'>, {} as F32<'U'>)).toEqualTypeOf<Scalar>();
    expectTypeOf(koleoLoss({} as F32<'B D'>)).toEqualTypeOf<Scalar>();
    expectTypeOf(apply(vit(demo.model), {} as VitParams)({} as F32<'8 3 28 28'>).cls).toEqualTypeOf<F32<'8 D'>>();
    const batch = {} as Batch;
    const [global, local] = encode(demo.model, {} as VitParams, [
      crop(demo.model, batch.global, 'N', batch.masks),
      crop(demo.model, batch.local, 'M'),
    ]);
    expectTypeOf(global).toEqualTypeOf<Features<'2*B', 'N'>>();
    expectTypeOf(local.patches).toEqualTypeOf<F32<'L*B M D'>>();
    const head = dinoHead(size('D', 384), size('K', 4096), demo.dino);
    expectTypeOf(apply(head, {} as Params<typeof head>)(global.cls)).toEqualTypeOf<F32<'2*B K'>>();
  });
});

it('says in one sentence what does not fit', () => {
  types(() => {
    // @ts-expect-error argument 2: expected [T B K], got [2 B J]: K = K here, got J (prototypes of two heads)
    dinoLoss(0.1)({} as F32<'L B K'>, {} as F32<'2 B J'>);
    // @ts-expect-error argument 1: expected [B D], got [B N D]: too many axes
    koleoLoss({} as F32<'B N D'>);
    // @ts-expect-error masks are boolean, one for every patch of the images
    crop(demo.model, {} as F32<'2*B 3 S S'>, 'N', {} as Tensor<'2*B M', 'bool'>);
  });
});

/** Images for training and evaluation: where they come from, how crops and masks are made, how a step's batch is put together. */
export { augment, type CropRecipe, dinov2Crops, smallCrops } from './augment.ts';
export { type Batch, type BatchRecipe, batches, cropMajor, maskBound, maskRecipe } from './batch.ts';
export { imageName, type ReadImage, type ReadOptions, readImage } from './decode.ts';
export { loadFashion } from './fashion.ts';
export { type FolderOptions, findImages, type Loaded, loadFolder } from './folder.ts';
export { idxSet } from './idx.ts';
export { blockMask, collateMasks, type MaskRecipe, type Masks, maskedPatches, maxPatches, upperBound } from './masks.ts';
export { holdOut, type ImageSet, imagenet, maxPixels, type Normalise, type Picture, subset, take } from './picture.ts';
export { centrePlanes, normalised, type Planes, planeBytes, planesOf, resizePlanes, resizeShortPlanes } from './planes.ts';
export { type Random, stream } from './random.ts';
export { centreView, resize, resizeShort, shortSide } from './resize.ts';
export { centreCrop, type Fit, ownPixels, type Placed, type View, viewBatch, wholePicture } from './view.ts';

/** The configurations of the recorded cases, in the words of our recipes. */
export { recipeFromConfig as recipeOf, vitConfigOf as vitConfig } from '../../models/recipes/config.ts';

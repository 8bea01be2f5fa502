// What transformers.js itself says: `node transformers_greedy.mjs FOLDER DTYPE MAX < PROMPT` prints
// its greedy ids. PROMPT is JSON: {"ids": [...]}, and for a picture {"pixels": [...], "width": the
// numbers of a patch, "grid": [t, h, w]} besides. Looks for nothing outside of the folder.
import {
  AutoModelForCausalLM,
  AutoModelForImageTextToText,
  Tensor,
  env,
} from "@huggingface/transformers";
import { readFileSync } from "node:fs";
import path from "node:path";

const [folder, dtype, most] = process.argv.slice(2);
const { ids, pixels, width, grid } = JSON.parse(readFileSync(0, "utf8"));
env.allowRemoteModels = false;
env.localModelPath = path.dirname(folder);
const kind = pixels ? AutoModelForImageTextToText : AutoModelForCausalLM;
const model = await kind.from_pretrained(path.basename(folder), { dtype });
const whole = (values, shape) => new Tensor("int64", BigInt64Array.from(values, BigInt), shape);
const image = pixels && {
  pixel_values: new Tensor("float32", Float32Array.from(pixels), [pixels.length / width, width]),
  image_grid_thw: whole(grid, [1, 3]),
};
const said = await model.generate({
  input_ids: whole(ids, [1, ids.length]),
  attention_mask: whole(ids.map(() => 1), [1, ids.length]),
  ...image,
  max_new_tokens: Number(most),
  do_sample: false,
});
process.stdout.write(JSON.stringify(said.tolist()[0].slice(ids.length).map(Number)));
await model.dispose();

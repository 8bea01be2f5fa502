// `node transformers_prompt.mjs FOLDER TEXT` prints the ids that the tokenizer and the template of
// transformers.js give.
import { AutoTokenizer, env } from "@huggingface/transformers";
import path from "node:path";

const [folder, text] = process.argv.slice(2);
env.allowRemoteModels = false;
env.localModelPath = path.dirname(folder);
const tokenizer = await AutoTokenizer.from_pretrained(path.basename(folder));
const ids = tokenizer.apply_chat_template([{ role: "user", content: text }], {
  add_generation_prompt: true,
  return_tensor: false,
  return_dict: false,
});
process.stdout.write(JSON.stringify(ids));

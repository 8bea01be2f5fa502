"""`genai_prompt.py FOLDER TEXT` prints the ids that GenAI's own tokenizer and template give."""

import json
import sys

import onnxruntime_genai

tokenizer = onnxruntime_genai.Tokenizer(onnxruntime_genai.Model(sys.argv[1]))
messages = json.dumps([{"role": "user", "content": sys.argv[2]}])
prompt = tokenizer.apply_chat_template(messages, add_generation_prompt=True)
json.dump([int(token) for token in tokenizer.encode(prompt)], sys.stdout)

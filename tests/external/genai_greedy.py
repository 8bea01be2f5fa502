"""What ONNX Runtime GenAI itself says: `genai_greedy.py FOLDER MAX IDS...` prints its greedy ids.

A program of its own, because that runtime and Triptych would share ONNX Runtime's one pool of
threads in a process.
"""

import json
import sys

import onnxruntime_genai

model = onnxruntime_genai.Model(sys.argv[1])
prompt = [int(token) for token in sys.argv[3:]]
parameters = onnxruntime_genai.GeneratorParams(model)
parameters.set_search_options(do_sample=False, max_length=len(prompt) + int(sys.argv[2]))
generator = onnxruntime_genai.Generator(model, parameters)
generator.append_tokens(prompt)
while not generator.is_done():
    generator.generate_next_token()
tokens = [int(token) for token in generator.get_sequence(0)[len(prompt) :]]
json.dump(tokens, sys.stdout)

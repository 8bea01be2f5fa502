"""A checkpoint of sketch as transformers runs it: what the exported graphs are held against.

Everything is the reference's own: the tokenizer, chat template, image processor, weights and
greedy generation of transformers, in float32.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoImageProcessor, AutoTokenizer, Qwen3VLForConditionalGeneration

from triptych.models.sketch.accuracy import MAX_NEW_TOKENS
from triptych.models.sketch.conversations import Example
from triptych.models.sketch.tokenizer import IMAGE_PAD

BATCH = 16


class Reference:
    """A checkpoint folder as transformers runs it."""

    def __init__(self, folder: Path) -> None:
        # Any: the annotations of transformers do not fit its own classes.
        self.model: Any = Qwen3VLForConditionalGeneration.from_pretrained(
            folder, dtype=torch.float32
        )
        self.model.train(mode=False)
        self.tokenizer: Any = AutoTokenizer.from_pretrained(folder, padding_side="left")
        loader: Any = AutoImageProcessor
        self.images: Any = loader.from_pretrained(folder)
        self.image_pad = self.tokenizer.convert_tokens_to_ids(IMAGE_PAD)

    def answer(
        self, examples: Sequence[Example], *, max_new_tokens: int = MAX_NEW_TOKENS
    ) -> list[str]:
        """What the model says to each question, greedily."""
        said: list[str] = []
        # Questions of one length together: little padding, and answers of similar length.
        order = sorted(range(len(examples)), key=lambda index: len(examples[index].answer))
        for start in range(0, len(order), BATCH):
            batch = [examples[index] for index in order[start : start + BATCH]]
            said.extend(self._answer(batch, max_new_tokens))
        return [text for _, text in sorted(zip(order, said, strict=True))]

    def _answer(self, examples: Sequence[Example], max_new_tokens: int) -> list[str]:
        images = [image for example in examples for image in example.images]
        pixels = self.images(images=images, return_tensors="pt") if images else {}
        places = iter((pixels["image_grid_thw"].prod(-1) // 4).tolist() if images else ())
        prompts = []
        for example in examples:
            prompt = self.tokenizer.apply_chat_template(
                example.messages, tokenize=False, add_generation_prompt=True
            )
            head, *rest = prompt.split(IMAGE_PAD)
            prompts.append(head + "".join(IMAGE_PAD * next(places) + part for part in rest))
        inputs = self.tokenizer(prompts, return_tensors="pt", padding=True)
        ids = inputs["input_ids"]
        with torch.inference_mode():
            output = self.model.generate(
                **inputs,
                **pixels,
                mm_token_type_ids=(ids == self.image_pad).int(),
                max_new_tokens=max_new_tokens,
            )
        return list(
            self.tokenizer.batch_decode(output[:, ids.shape[1] :], skip_special_tokens=True)
        )

"""LLaVA's prompts, and pictures as CLIP wants them."""

import io
import json

import numpy as np
from jinja2.sandbox import ImmutableSandboxedEnvironment
from PIL import Image
from tokenizers import Tokenizer

import triptych
from triptych.core.prompt import digest_of

IMAGE = "<image>"


class ClipProcessor:
    """A placeholder for each picture becomes as many tokens as the encoder gives it rows."""

    class Settings(triptych.Settings):
        """folder: holds the tokenizer, the chat template, `config.json` and the image settings.

        pixel_limit: larger pictures are refused before they are decoded.
        """

        folder: triptych.FilePath
        pixel_limit: int = 89_478_485

    def __init__(self, settings):
        self.folder, self.pixel_limit = settings.folder, settings.pixel_limit
        config = self._json("config.json")
        tower = config["vision_config"]
        self.rows = (tower["image_size"] // tower["patch_size"]) ** 2
        self.max_context = config["text_config"].get("max_position_embeddings")
        self.tokenizer = Tokenizer.from_file(str(self.folder / "tokenizer.json"))
        self.placeholder = self.tokenizer.token_to_id(IMAGE)
        self.words = self._json("tokenizer_config.json")
        ends = [self.tokenizer.token_to_id(self._word("eos_token"))]
        self.eos_ids = frozenset(token for token in ends if token is not None)
        template = (self.folder / "chat_template.jinja").read_text(encoding="utf-8")
        self.template = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True
        ).from_string(template)
        images = self._json("preprocessor_config.json")
        self.short, self.side = images["size"]["shortest_edge"], images["crop_size"]["height"]
        self.mean, self.std = (np.float32(images[key]) for key in ("image_mean", "image_std"))
        axes = ("images", 3, self.side, self.side)
        self.offers = (triptych.Port("pixel_values", "float32", axes),)

    def prompt(self, request):
        """Render, tokenize, and put each picture's rows in the place of its token."""
        if request.videos:
            raise triptych.InputError("LLaVA sees pictures, not videos")
        messages, images = self._messages(request)
        text = self.template.render(
            messages=messages, add_generation_prompt=True, bos_token=self._word("bos_token") or ""
        )
        if text.count(IMAGE) != len(images):
            raise triptych.InputError(f"the text spells out {IMAGE}; write it in another way")
        begins = self._word("bos_token")
        plain = begins is not None and text.startswith(begins)
        ids = self.tokenizer.encode(text, add_special_tokens=not plain).ids
        tokens, media = [], []
        for token in ids:
            if token == self.placeholder:
                at = np.arange(len(tokens), len(tokens) + self.rows)
                media.append(self._media(images[len(media)], at))
                tokens += [token] * self.rows
            else:
                tokens.append(token)
        return triptych.Prompt(np.array(tokens, np.int64), tuple(media))

    def encode(self, text):
        """Plain text to ids; spelled-out special tokens stay text."""
        self.tokenizer.encode_special_tokens = True
        try:
            return self.tokenizer.encode(text, add_special_tokens=False).ids
        finally:
            self.tokenizer.encode_special_tokens = False

    def decode(self, tokens):
        """Ids to text, special tokens left out."""
        return self.tokenizer.decode([int(token) for token in tokens], skip_special_tokens=True)

    def _messages(self, request):
        """Messages whose contents are lists of parts, and the pictures in their order."""
        messages = request.messages
        if messages is None:
            pictures = [{"type": "image", "image": image} for image in request.images]
            content = [*pictures, {"type": "text", "text": request.text or ""}]
            messages = [{"role": "user", "content": content}]
        if request.system is not None:
            messages = [{"role": "system", "content": request.system}, *messages]
        made, images = [], []
        for message in messages:
            parts = message["content"]
            parts = [{"type": "text", "text": parts}] if isinstance(parts, str) else parts
            images += [part["image"] for part in parts if part["type"] == "image"]
            made.append({"role": message["role"], "content": list(parts)})
        return made, images

    def _media(self, image, at):
        picture = self._opened(image)
        digest = digest_of(picture.tobytes(), picture.size, self.short, self.side)
        return triptych.Media("image", digest, at, lambda: {"pixel_values": self._pixels(picture)})

    def _opened(self, image):
        """A picture in RGB, from a path, bytes, an array or Pillow."""
        try:
            if isinstance(image, np.ndarray):
                return Image.fromarray(image).convert("RGB")
            if not isinstance(image, Image.Image):
                image = Image.open(io.BytesIO(image) if isinstance(image, bytes) else image)
            if image.width * image.height > self.pixel_limit:
                raise triptych.InputError(f"the picture has more than {self.pixel_limit} pixels")
            return image.convert("RGB")
        except (OSError, ValueError, TypeError) as error:
            raise triptych.InputError(f"this is no picture that can be read: {error}") from error

    def _pixels(self, picture):
        """f32 [1, 3, side, side]: the short edge shrunk or enlarged, the middle, normalised."""
        short = min(picture.size)
        size = tuple(int(self.short * edge / short) for edge in picture.size)
        picture = picture.resize(size, Image.Resampling.BICUBIC)
        left, top = ((edge - self.side) // 2 for edge in picture.size)
        picture = picture.crop((left, top, left + self.side, top + self.side))
        pixels = np.asarray(picture, np.float32) * np.float32(1 / 255)
        return ((pixels - self.mean) / self.std).transpose(2, 0, 1)[None].astype(np.float32)

    def _json(self, name):
        return json.loads((self.folder / name).read_text(encoding="utf-8"))

    def _word(self, key):
        """A special token, which the file has as text or as an object."""
        word = self.words.get(key)
        return word["content"] if isinstance(word, dict) else word

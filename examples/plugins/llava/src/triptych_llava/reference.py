"""LLaVA as transformers runs it: what an export is held against."""

import numpy as np

from triptych import Prompt
from triptych.export.verification.case import Case, made_up_media
from triptych.export.verification.checkpoint import TransformersReference, tensor


class LlavaReference(TransformersReference):
    """The model of a checkpoint."""

    architecture = "LlavaForConditionalGeneration"

    def vision(self, media):
        """`image_features` f32 [N, H]."""
        found = self.model.model.get_image_features(tensor(media["pixel_values"])).pooler_output
        return {"image_features": np.concatenate([rows.numpy() for rows in found])}

    def made_up(self, random):
        """Random words alone, then one picture and two between such words."""
        yield from super().made_up(random)
        tower = self.config.vision_config
        rows = (tower.image_size // tower.patch_size) ** 2
        shape = tower.num_channels, tower.image_size, tower.image_size
        for count in (1, 2):
            ids, media = list(self.words(random, 5)), []
            for _ in range(count):
                at = np.arange(len(ids), len(ids) + rows)
                pixels = random.uniform(-1, 1, (1, *shape)).astype(np.float32)
                media.append(made_up_media("image", at, {"pixel_values": pixels}))
                ids += [self.config.image_token_id] * rows + list(self.words(random, 5))
            yield Case(f"{count} pictures", Prompt(np.array(ids, np.int64), tuple(media)))

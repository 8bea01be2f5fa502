"""Score an answer by its words."""


class __CLASS__:
    """`contained`: 1 where the answer has the reference among its words, else 0."""

    def __call__(self, item, answer):
        """item.reference is what the dataset says, answer.reply.text what the model said."""
        words = answer.reply.text.casefold().replace(".", " ").replace(",", " ").split()
        return {"contained": float(str(item.reference).casefold() in words)}

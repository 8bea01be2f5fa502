"""Score a reply by its words."""


class __CLASS__:
    """`contained`: 1 where the reply has the reference among its words, else 0."""

    def __call__(self, item, reply):
        """item.reference is what the dataset says, reply.text what the model said."""
        words = reply.text.casefold().replace(".", " ").replace(",", " ").split()
        return {"contained": float(str(item.reference).casefold() in words)}

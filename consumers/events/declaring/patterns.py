"""Patterns of routing keys, as RabbitMQ's topic exchanges have them. Pure.

Words are separated by dots; `*` stands for exactly one word, `#` for any number of words, also for none
(https://www.rabbitmq.com/tutorials/tutorial-five-python#topic-exchange).
"""

ONE, ANY = "*", "#"
_MOST_BYTES = 255  # a binding key is a short string of AMQP


def check(pattern: str) -> None:
    """Raise ValueError for a pattern that RabbitMQ refuses, or would read otherwise than it looks."""
    if not pattern or len(pattern.encode()) > _MOST_BYTES:
        raise ValueError(f"{pattern!r} is no pattern of 1 to {_MOST_BYTES} bytes")
    for word in pattern.split("."):
        if not word:
            raise ValueError(f"{pattern!r} has a word without a letter")
        if len(word) > 1 and (ONE in word or ANY in word):
            raise ValueError(f"{pattern!r}: {ONE} and {ANY} stand for whole words, and {word!r} is none")


def matches(pattern: str, routing_key: str) -> bool:
    """Return whether a queue that is bound with `pattern` gets a message with `routing_key`."""
    words = routing_key.split(".") if routing_key else []
    # reached[n]: the pattern up to here matches the first n words.
    reached = [True, *([False] * len(words))]
    for part in pattern.split("."):
        if part == ANY:
            first = next((number for number, each in enumerate(reached) if each), len(reached))
            reached = [number >= first for number in range(len(reached))]
        else:
            reached = [
                False,
                *(before and part in {ONE, word} for before, word in zip(reached, words, strict=False)),
            ]
    return reached[-1]

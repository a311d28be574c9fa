"""An answer counts only on the channel that is open, and an error of its taker closes the channel."""

from relay.publishing.answers import Answers


class Taker:
    """Notes what it is given; raises `error` instead, if it has one."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.error: Exception | None = None
        self.answers: Answers[str] = Answers(
            self._answered, self._returned, on_heard=lambda: self.seen.append("heard"), on_error=self._failed
        )

    def _answered(self, tag: int, *, multiple: bool, nack: bool) -> None:
        self._take(f"{'nack' if nack else 'confirm'} {'up to ' * multiple}{tag}")

    def _returned(self, message_id: str, why: str) -> None:
        self._take(f"{message_id} returned: {why}")

    def _take(self, what: str) -> None:
        if self.error is not None:
            raise self.error
        self.seen.append(what)

    def _failed(self, error: Exception) -> None:
        self.seen.append(f"failed: {error}")


def test_the_open_channels_answers_are_passed_on() -> None:
    taker = Taker()
    taker.answers.channel = "one"
    taker.answers.answered("one", 1, multiple=True, nack=False)
    taker.answers.answered("one", 2, multiple=False, nack=True)
    taker.answers.returned("one", "id", "NO_ROUTE")
    taker.answers.replied("one")
    assert taker.seen == ["heard", "confirm up to 1", "heard", "nack 2", "id returned: NO_ROUTE", "heard"]


def test_what_comes_late_on_a_channel_that_was_given_up_is_dropped() -> None:
    taker = Taker()
    for now in ("two", None):
        taker.answers.channel = now
        taker.answers.answered("one", 1, multiple=True, nack=False)
        taker.answers.returned("one", "id", "NO_ROUTE")
        taker.answers.replied("one")
    assert taker.seen == []


def test_an_error_of_the_taker_is_reported_once_and_closes_the_channel() -> None:
    taker = Taker()
    taker.answers.channel, taker.error = "one", ValueError("a bug")
    taker.answers.answered("one", 1, multiple=False, nack=False)
    taker.answers.answered("one", 2, multiple=False, nack=False)
    taker.answers.returned("one", "id", "NO_ROUTE")
    assert taker.seen == ["heard", "failed: a bug"]
    assert taker.answers.channel is None

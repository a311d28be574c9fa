"""A handler that does nothing on the loop. It is alone, for consumers that know no such handlers."""

from consumers import Task, task


@task("bench.async")
async def on_the_loop(_: Task) -> None:
    """Do nothing."""

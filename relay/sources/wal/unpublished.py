"""Whether Postgres has left changes out of a stream of pgoutput, because the publication was missing at that time.

Before PostgreSQL 18 such a change ends the stream with an error (42704). Since then it is passed over with a warning,
and the stream goes on: what a reader confirms next covers changes that it never got. So the warning must end the
reading as the error does. The server sends it before anything that follows the change.
"""

from psycopg.errors import Diagnostic, UndefinedObject

# LoadPublications. The text is translated; code and place are not. Other places warn with this code too, and leave
# nothing out, such as slot.c while a standby of synchronized_standby_slots is away.
_LEFT_OUT = ("WARNING", "55000", "pgoutput.c")


def left_out(notice: Diagnostic) -> UndefinedObject | None:
    """Return the error that an older server reports instead of `notice`; None if nothing was left out."""
    if (notice.severity_nonlocalized, notice.sqlstate, notice.source_file) != _LEFT_OUT:
        return None
    return UndefinedObject(f"{notice.message_primary}: {notice.message_detail}")

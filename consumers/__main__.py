"""`python -m consumers`, the same as `consumers`.

Python puts the working directory first on its path: if that has a package `consumers` of its own, Python runs that one.
The command `consumers` does not depend on the working directory.
"""

from outboxkit.process.entry import consumers

consumers()

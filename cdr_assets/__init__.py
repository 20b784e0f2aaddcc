"""AloTech call detail records, loaded into a DuckDB warehouse.

Only what must happen before every other import belongs here. Dagster's entry point is `definitions`, the command's is
`cli.commands`.
"""

import os

# Arrow reads this once, when it is imported. Its default pool keeps freed memory: 90 MB in a run.
os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")

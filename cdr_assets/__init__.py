"""AloTech call detail records, turned into a warehouse people trust."""

import os

# Before anything imports Arrow, which looks once: its usual pool keeps what is given back to it, 90 MB of a run.
os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")

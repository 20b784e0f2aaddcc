"""The `cdr` command: arguments, what is printed, and the demo. What it does lies in the rooms below."""

"""What is fast, and what it is compared with. README.md has the commands and the figures."""

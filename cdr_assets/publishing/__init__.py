"""What analysts read: the copy of the warehouse, the key of its pseudonyms, and what the pipeline reads from it."""

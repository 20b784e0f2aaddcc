"""AloTech call detail records, turned into a warehouse people trust."""

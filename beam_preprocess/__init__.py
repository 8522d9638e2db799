"""Raw files to checked TFRecord shards and `dataset.json`, by Apache Beam."""

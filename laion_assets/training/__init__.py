"""From selected pairs to checkpoints: recipes, webdataset shards, and the driver of open_clip_train."""

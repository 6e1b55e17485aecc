"""What it takes to run the pipeline: rates measured in a lake, and plans made from them."""

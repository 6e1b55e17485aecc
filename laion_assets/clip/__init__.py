"""Images and texts to vectors: encoders, similarities, calibration of thresholds, training of a small CLIP.

What belongs here: everything that runs an open_clip model. What does not: which partition is computed and where its
rows are kept. `encoder` needs torch, open_clip, numpy and pillow alone, so that it runs on a bare GPU machine.
"""

"""Tars that hold pictures already, as img2dataset and webdataset write them: their samples, and where they lie.

A sample is what stands side by side under one key: a picture, its text (``.txt``), and what is known of it (``.json``
with ``url``, ``caption`` …; where there is none, the row of that key in the Parquet file beside the tar, which
img2dataset writes as well). A sample of which nothing tells the url is no pair: a url is half of a pair's name.
"""

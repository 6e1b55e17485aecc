"""The formats that a release is written in, one file each; each is read by tools of others in the tests."""

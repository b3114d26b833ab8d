"""The signer's name with tokens that Apache Kafka can check: only Amazon MSK knows the real ones.

A program takes it with this folder's parent on its PYTHONPATH. `TEST_SIGNER` is a folder: with a file `fault` in it no
token is made, and `regions` has a line for each token.
"""

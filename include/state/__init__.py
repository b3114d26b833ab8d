"""Small JSON objects in S3 by which one part of the product leaves something for another to read."""

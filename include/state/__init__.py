"""Small JSON objects in S3 that one part of the product leaves for another."""

"""Small JSON objects in S3 that one part of the product writes and another part reads."""

"""From a measured number to a verdict on each condition. The checks do not use alerts."""

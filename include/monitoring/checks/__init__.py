"""From a measured number to a verdict on each condition. Knows nothing of alerts."""

"""Around dbt's runs: the manifest, the gate before bronze, the results of tests, the state of each layer."""

"""The work before and after dbt's runs: manifest, gate before bronze, test results, the state of each layer."""

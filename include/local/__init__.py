"""The laptop stack: broker, AWS emulator, mailbox, Airflow, and the programs between them."""

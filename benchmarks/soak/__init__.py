"""What the programs use while they run for an hour on a laptop stack: memory, handles, threads, lag, mails, files."""

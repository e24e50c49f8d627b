"""Records to tables: statistics, speed-up, communication, load balance, parity."""

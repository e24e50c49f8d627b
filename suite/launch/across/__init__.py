"""Launches that span hosts: an engine of the cluster starts a follower on each of them."""

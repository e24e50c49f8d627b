"""What both engines share: process sets, timeline, rendezvous."""

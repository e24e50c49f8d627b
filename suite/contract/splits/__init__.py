"""How training is split over devices: strategies, meshes, stages, schedules, shards, shares.

Everything here is plain data and arithmetic; the adapters carry the plans out.
"""

"""How training is split over devices, as data: plans, stages, schedules, meshes."""

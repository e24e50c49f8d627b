HARNESS = "harness"
SHORT_HARNESS = ()
class HarnessBench:
    FAULTS = {}

"""What `prune.py` consists of.

    facts       what there is in one region: things, who refers to them, and what could not be read
    inventory   reads the things
    references  reads who refers to them
    records     reads deployment records of ingot-fleet
    decide      facts in, one decision for each thing out; calls nothing
    carry_out   makes the changes that were decided, each of which can be the last before a kill
    report      decisions for people and for programs
"""

"""CloudFormation: what moto keeps and does not do.

moto evaluates templates wrongly in places and does everything at once; here a template is evaluated (`template`), its
resources are made, changed and removed one after the other (`resources`), and a stack (`stack`) has events, waits for
signals, rolls its group and rolls back.
"""

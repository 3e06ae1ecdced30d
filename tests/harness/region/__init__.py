"""A small region of AWS on one machine, for what runs a fleet: a stand-in.

    with Region() as region:                               # or Region(containers(image), Bridge())
        region.client("cloudformation").create_stack(…)    # or anything else that is pointed at `region.url`
        region.settled("shop-prod")
        region.instances()[0].run_command("ingot", "status")

moto is the API; where moto has no engine, the engine is here, in the same process. Each module says at its head what of
AWS it imitates, and has the source of each rule beside it. Rules that nobody has seen written are marked "not
documented".

    engine      what all parts share: the lock, the waiting, the time
    front       the endpoint; delays: late, stale and lost answers
    api/        which call of AWS ends where
    group       Auto Scaling: group, member (one instance's life), hooks, activities, refresh
    balancing   target groups with health checks, and the balancer that clients talk to
    metrics     CloudWatch: what is measured of load balancers
    stacks      CloudFormation: template, resources, stacks, events, signals, alarms, rolling and replacing updates
    instances   what an instance is: a container that boots (container) or a process with a scripted boot (scripted)
    commands    Systems Manager's Run Command

Its times are those of a stand-in, not of AWS: say so wherever one is printed.
"""

from .instances.scripted import Outcome, scripted
from .region import Region

__all__ = ["Outcome", "Region", "scripted"]

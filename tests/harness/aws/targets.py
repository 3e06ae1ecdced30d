"""Target groups of a load balancer, whose targets moto calls healthy at once: here they are what a test says.

From the API Reference of Elastic Load Balancing, DescribeTargetHealth: without targets in the request, it describes all that
are registered; a group that is not there is refused.
"""

from xml.sax.saxutils import escape


class Targets:
    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        self.groups: dict[str, dict[str, dict]] = {}

    def make(self, group: str, instance: str = "", state: str = "", reason: str = "", description: str = "") -> str:
        """A group, and how it sees an instance."""
        targets = self.groups.setdefault(group, {})
        if instance:
            targets[instance] = {"State": state, "Reason": reason, "Description": description}
        return group

    def answer(self, form: dict[str, str]) -> str | tuple[str, str]:
        """The answer's inner XML, or an error: its code and message."""
        group = form["TargetGroupArn"]
        if group not in self.groups:
            return "TargetGroupNotFound", f"Target groups '{group}' not found"
        members = "".join(member(instance, health) for instance, health in self.groups[group].items())
        return f"<DescribeTargetHealthResult><TargetHealthDescriptions>{members}</TargetHealthDescriptions></DescribeTargetHealthResult>"


def member(instance: str, health: dict) -> str:
    fields = "".join(f"<{name}>{escape(text)}</{name}>" for name, text in health.items() if text)
    target = f"<Target><Id>{escape(instance)}</Id><Port>8080</Port></Target><HealthCheckPort>8080</HealthCheckPort>"
    return f"<member>{target}<TargetHealth>{fields}</TargetHealth></member>"

"""Calls of EC2 that have to reach what runs: addresses and terminations.
<https://docs.aws.amazon.com/AWSEC2/latest/APIReference/>"""

from moto.core.types import Base64EncodedString
from moto.ec2.models import EC2Backend, elastic_ip_addresses
from moto.ec2.models.launch_templates import LaunchTemplateVersion
from moto.ec2.responses import EC2Response

from ..refusal import refusal_of

RESPONSE = EC2Response
refused = refusal_of("ec2")
CALLS: dict = {}


def user_data(self):
    """moto keeps the user data that CreateLaunchTemplateVersion gives as text, and then asserts that it is not."""
    text = self.data.get("UserData")
    return text if text is None or isinstance(text, Base64EncodedString) else Base64EncodedString(text)


def corrections(engine) -> list[tuple]:
    associate, terminate = EC2Backend.associate_address, EC2Backend.terminate_instances

    def associate_address(self, *given, **named):
        """<https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_AssociateAddress.html>"""
        address = associate(self, *given, **named)
        instance = address.instance or (address.eni and address.eni.instance)
        if instance and instance.id in engine.instances:
            engine.network.associate(address.public_ip, engine.instances[instance.id])
        return address

    def terminate_instances(self, instance_ids):
        """One that a user terminates is shut down, and no hook is asked."""
        for id in instance_ids:
            if id in engine.instances:
                engine.start(engine.instances[id].terminate)
        return terminate(self, instance_ids)

    # moto's are of loopback, where nothing is routed to. These are of a network for documentation (RFC 5737).
    public = (f"203.0.113.{number}" for number in range(1, 255))

    return [
        (elastic_ip_addresses, "random_ip", lambda: next(public)),
        (EC2Backend, "associate_address", associate_address),
        (EC2Backend, "terminate_instances", terminate_instances),
        (LaunchTemplateVersion, "user_data", property(user_data)),
    ]

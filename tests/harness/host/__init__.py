"""What surrounds ingot on a machine: disks, archives, databases, DNS, and containers with a real systemd."""

"""Real parts for black-box tests of the built binary: IMDS, AWS, the agent, and machines with a real systemd."""

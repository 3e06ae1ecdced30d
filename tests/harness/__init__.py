"""Real parts for black-box tests of the built binary.

`agent` runs the binary, `wire` and `tls` are what all servers share; `aws` stands in for AWS and the instance metadata
service, `host` for what surrounds ingot on a machine, `vm` is machines with a kernel of their own.
"""

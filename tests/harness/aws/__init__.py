"""AWS and the instance metadata service on loopback: moto behind a front, what moto leaves out, and S3."""

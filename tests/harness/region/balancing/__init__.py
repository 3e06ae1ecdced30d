"""Elastic Load Balancing: target groups that check and drain, and the balancer that requests go through."""

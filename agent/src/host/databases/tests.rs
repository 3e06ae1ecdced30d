//! Servers of a few lines, on loopback: what is made of what they say.

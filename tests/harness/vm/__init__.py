"""Virtual machines in QEMU: a small Debian, golden images, and volumes whose first reads are slow."""

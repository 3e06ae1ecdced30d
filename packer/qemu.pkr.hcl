# Bakes the same image for QEMU from any bootable disk, so that the build can be tested without AWS.
#
# Only the builder has a virtio disk. Instances find their disks by NVMe, as on EC2.

source "qemu" "golden" {
  disk_image       = true
  iso_url          = var.base_image
  iso_checksum     = var.base_image_checksum
  format           = "qcow2"
  vm_name          = "golden.qcow2"
  output_directory = var.output_directory

  accelerator    = var.accelerator
  headless       = true
  cpus           = var.cpus
  memory         = var.memory_mib
  net_device     = "virtio-net"
  disk_interface = "virtio"
  # Writes need not reach the disk: a builder that crashes is discarded.
  disk_cache         = "unsafe"
  disk_discard       = "unmap"
  disk_detect_zeroes = "unmap"
  skip_resize_disk   = var.disk_size == ""
  disk_size          = var.disk_size == "" ? null : var.disk_size
  # Not `max` under TCG: its five-level page tables make the kernel hang with QEMU 7.2.
  qemuargs = [["-cpu", var.accelerator == "kvm" ? "host" : "Nehalem"]]

  communicator         = "ssh"
  ssh_username         = var.ssh_username
  ssh_private_key_file = var.ssh_private_key_file
  ssh_timeout          = "10m"
  boot_wait            = "1s"
  shutdown_command     = var.ssh_username == "root" ? "systemctl poweroff" : "sudo -n systemctl poweroff"
  shutdown_timeout     = "5m"
}

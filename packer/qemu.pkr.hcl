# The same image for QEMU, from any disk that boots by itself: the recipe is tested where there is no AWS.
#
# Only the builder's disk is virtio. What boots later finds its disks by NVMe, as on EC2.

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
  # A builder that dies is thrown away: no write has to wait for a disk.
  disk_cache         = "unsafe"
  disk_discard       = "unmap"
  disk_detect_zeroes = "unmap"
  skip_resize_disk   = var.disk_size == ""
  disk_size          = var.disk_size == "" ? null : var.disk_size
  # Under TCG not `max`: its five-level page tables stop the kernel with QEMU 7.2.
  qemuargs = [["-cpu", var.accelerator == "kvm" ? "host" : "Nehalem"]]

  communicator         = "ssh"
  ssh_username         = var.ssh_username
  ssh_private_key_file = var.ssh_private_key_file
  ssh_timeout          = "10m"
  boot_wait            = "1s"
  shutdown_command     = var.ssh_username == "root" ? "systemctl poweroff" : "sudo -n systemctl poweroff"
  shutdown_timeout     = "5m"
}

# The same image for QEMU, from any disk that boots by itself: to test the recipe where there is no AWS.

source "qemu" "golden" {
  disk_image       = true
  iso_url          = var.base_image
  iso_checksum     = var.base_image_checksum
  format           = "qcow2"
  vm_name          = "golden.qcow2"
  output_directory = var.output_directory

  accelerator        = var.accelerator
  headless           = true
  cpus               = var.cpus
  memory             = var.memory_mib
  net_device         = "virtio-net"
  disk_interface     = "virtio"
  disk_cache         = "unsafe"
  disk_discard       = "unmap"
  disk_detect_zeroes = "unmap"
  skip_compaction    = true
  skip_resize_disk   = true
  # Under TCG not `max`: its five-level page tables break the kernel with QEMU 7.2.
  qemuargs = [["-cpu", var.accelerator == "kvm" ? "host" : "Nehalem"]]

  ssh_username         = var.ssh_username
  ssh_private_key_file = var.ssh_private_key_file
  ssh_timeout          = "10m"
  boot_wait            = "1s"
  shutdown_command     = var.ssh_username == "root" ? "systemctl poweroff" : "sudo systemctl poweroff"
}

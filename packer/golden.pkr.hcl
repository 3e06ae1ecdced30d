# The golden image: one build for both sources.
#
#   packer build -only=qemu.golden -var … packer/
#   packer build -only=amazon-ebs.golden -var … packer/

locals {
  application = var.application != "" ? var.application : "${path.root}/application"
  build_time  = formatdate("YYYYMMDDhhmmss", timestamp())
  environment = [
    "INGOT_SHA256=${var.ingot_sha256}",
    "INGOT_BUILD_NAME=${var.image_name}",
    "INGOT_BUILD_GIT_REVISION=${var.git_revision}",
    "INGOT_BUILD_DIRECTORY=/var/tmp/golden",
  ]
  # As root whoever we are, with the variables above.
  as_root = "chmod +x {{.Path}} && if [ $(id -u) = 0 ]; then env {{.Vars}} {{.Path}}; else sudo env {{.Vars}} {{.Path}}; fi"
}

build {
  sources = ["source.qemu.golden"]

  # Everything that goes in lies in one directory, which the last script removes.
  provisioner "shell" {
    inline = ["mkdir -p /var/tmp/golden/application"]
  }
  provisioner "file" {
    source      = var.ingot_binary
    destination = "/var/tmp/golden/ingot"
  }
  provisioner "file" {
    source      = "${path.root}/../systemd"
    destination = "/var/tmp/golden"
  }
  provisioner "file" {
    source      = "${path.root}/files"
    destination = "/var/tmp/golden"
  }
  provisioner "file" {
    source      = "${local.application}/"
    destination = "/var/tmp/golden/application"
  }

  provisioner "shell" {
    execute_command  = local.as_root
    environment_vars = concat(local.environment, ["PATCH=${var.patch}"])
    scripts = [
      "${path.root}/scripts/patch.sh",
      "${path.root}/scripts/packages.sh",
      "${path.root}/scripts/ingot.sh",
      "${path.root}/scripts/application.sh",
      "${path.root}/scripts/trim.sh",
      "${path.root}/scripts/seal.sh",
    ]
  }

  provisioner "file" {
    direction   = "download"
    source      = "/etc/ingot/attestation.json"
    destination = "${var.output_directory}-attestation.json"
  }

  post-processor "manifest" {
    output     = "${var.output_directory}-manifest.json"
    strip_path = true
  }
}

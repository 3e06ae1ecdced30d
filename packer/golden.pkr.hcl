# The golden image: one build for both sources, with a small script for each step.
#
#   packer build -only=amazon-ebs.golden -var-file=shop.pkrvars.hcl packer/
#   packer build -only=qemu.golden -var … packer/
#
# This file and scripts/ define the contents of the image, which are the same for both sources. amazon-ebs.pkr.hcl and
# qemu.pkr.hcl define the builders.

locals {
  # Upload directory on the builder. The last script removes it.
  build_directory = "/var/tmp/golden"
  application     = var.application != "" ? var.application : "${path.root}/application"

  environment = concat(
    [
      "INGOT_BUILD_DIRECTORY=${local.build_directory}",
      "INGOT_BUILD_NAME=${var.image_name}",
      "INGOT_BUILD_GIT_REVISION=${var.git_revision}",
      "INGOT_SHA256=${var.ingot_sha256}",
      "PATCH=${var.patch}",
    ],
    var.http_proxy == "" ? [] : ["http_proxy=${var.http_proxy}", "https_proxy=${var.http_proxy}"],
  )

  # Runs scripts as root, whichever user logs in, with the variables above.
  as_root = "if [ $(id -u) = 0 ]; then env {{.Vars}} sh {{.Path}}; else sudo -n env {{.Vars}} sh {{.Path}}; fi"

  manifest    = "${var.output_directory}/packer-manifest.json"
  attestation = "${var.output_directory}/attestation.json"
}

build {
  sources = [
    "source.amazon-ebs.golden",
    "source.qemu.golden",
  ]

  provisioner "shell" {
    inline = ["mkdir -p ${local.build_directory}/application"]
  }
  provisioner "shell" {
    only   = ["amazon-ebs.golden"]
    inline = ["echo '${build.SourceAMI}' >${local.build_directory}/source-image"]
  }
  provisioner "shell" {
    only   = ["qemu.golden"]
    inline = ["echo '${basename(var.base_image)} ${var.base_image_checksum}' >${local.build_directory}/source-image"]
  }
  provisioner "file" {
    source      = var.ingot_binary
    destination = "${local.build_directory}/ingot"
  }
  provisioner "file" {
    source      = "${path.root}/../systemd"
    destination = local.build_directory
  }
  provisioner "file" {
    source      = "${path.root}/files"
    destination = local.build_directory
  }
  provisioner "file" {
    source      = "${local.application}/"
    destination = "${local.build_directory}/application"
  }

  provisioner "shell" {
    execute_command  = local.as_root
    environment_vars = local.environment
    scripts = [
      "${path.root}/scripts/patch.sh",
      "${path.root}/scripts/packages.sh",
      "${path.root}/scripts/ingot.sh",
      "${path.root}/scripts/application.sh",
      "${path.root}/scripts/host-key.sh",
      "${path.root}/scripts/trim.sh",
      "${path.root}/scripts/seal.sh",
    ]
  }

  provisioner "file" {
    direction   = "download"
    source      = "/etc/ingot/attestation.json"
    destination = local.attestation
  }

  post-processors {
    post-processor "manifest" {
      output     = local.manifest
      strip_path = true
      custom_data = {
        image_name   = var.image_name
        os           = var.os
        architecture = var.architecture
        git_revision = var.git_revision
        ingot_sha256 = var.ingot_sha256
      }
    }
    post-processor "shell-local" {
      inline = ["python3 '${path.root}/scripts/attest-manifest.py' '${local.manifest}' '${local.attestation}'"]
    }
  }
}

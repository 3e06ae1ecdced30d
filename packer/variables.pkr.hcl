# Every variable, for both sources. Give them by -var, by -var-file, or as PKR_VAR_… in the environment.
#
# What a value may be is told in functions that Packer has had since 1.6: there is no `regex` in that one, and `can` would
# take its absence for a mismatch.

# What goes in.

variable "ingot_binary" {
  type        = string
  description = "Path of the ingot binary on this machine, of the image's architecture."
}

variable "ingot_sha256" {
  type        = string
  description = "SHA-256 of ingot_binary, 64 hexadecimal digits, from where the binary was built: the builder refuses any other."
  validation {
    condition     = regex_replace(var.ingot_sha256, "^[0-9a-f]{64}$", "") == "" && var.ingot_sha256 != ""
    error_message = "The ingot_sha256 has to be 64 lower-case hexadecimal digits: take the output of sha256sum."
  }
}

variable "application" {
  type        = string
  description = "Directory of the application: boot.d, templates, units, packages, install.sh, seal.yaml; each may be missing."
  default     = ""
}

variable "patch" {
  type        = bool
  description = "Whether the packages of the base image are brought up to date."
  default     = true
}

variable "image_name" {
  type        = string
  description = "What the image is called; an AMI's name has the time behind it."
  default     = "golden"
  validation {
    condition     = regex_replace(var.image_name, "^[A-Za-z0-9][A-Za-z0-9._-]{2,80}$", "") == "" && var.image_name != ""
    error_message = "The image_name has to be 3 to 81 letters, digits, dots, dashes and underscores."
  }
}

variable "git_revision" {
  type        = string
  description = "Revision of the repository that this is built from: goes into tags and into the attestation."
  default     = "unknown"
}

# The qemu source.

variable "base_image" {
  type        = string
  description = "qemu: path or URL of a disk that boots by itself (BIOS) and lets ssh_username in with ssh_private_key_file."
  default     = ""
}

variable "base_image_checksum" {
  type        = string
  description = "qemu: checksum of base_image, such as sha256:…"
  default     = "none"
}

variable "accelerator" {
  type        = string
  description = "qemu: kvm, or tcg where there is no KVM."
  default     = "kvm"
  validation {
    condition     = contains(["kvm", "tcg"], var.accelerator)
    error_message = "The accelerator has to be kvm or tcg."
  }
}

variable "cpus" {
  type        = number
  description = "qemu: processors of the builder."
  default     = 2
}

variable "memory_mib" {
  type        = number
  description = "qemu: memory of the builder, in MiB."
  default     = 1024
  validation {
    condition     = var.memory_mib >= 512
    error_message = "The memory_mib has to be 512 or more."
  }
}

variable "output_directory" {
  type        = string
  description = "qemu: directory for golden.qcow2 and the manifest. It must not exist."
  default     = "output"
}

variable "ssh_username" {
  type        = string
  description = "qemu: user of the base image; root, or one that may use sudo without a password."
  default     = "root"
}

variable "ssh_private_key_file" {
  type        = string
  description = "qemu: private key that opens the base image."
  default     = ""
}

# All variables of both sources. Set them with -var, -var-file or PKR_VAR_… environment variables.
#
# Packer 1.6 has no `regex`, and its `can` reports a missing function as a mismatch. So patterns are tested with
# `regex_replace`, which leaves an empty string of a value that matches as a whole.

# Contents of the image.

variable "ingot_binary" {
  type        = string
  description = "Path of the ingot binary on this machine, built for the architecture of the image."
  validation {
    condition     = var.ingot_binary != ""
    error_message = "The ingot_binary must be a path: build the binary with `cargo dist`."
  }
}

variable "ingot_sha256" {
  type        = string
  description = "SHA-256 of ingot_binary, taken where it was built. The builder refuses any other binary."
  validation {
    condition     = var.ingot_sha256 != "" && regex_replace(var.ingot_sha256, "^[0-9a-f]{64}$", "") == ""
    error_message = "The ingot_sha256 must be 64 lowercase hexadecimal digits, as sha256sum prints them for the binary."
  }
}

variable "ingot_version" {
  type        = string
  description = "Version of ingot_binary, for the tags of the image."
  default     = "unknown"
}

variable "application" {
  type        = string
  description = "Directory of the application. The default is packer/application."
  default     = ""
}

variable "patch" {
  type        = bool
  description = "Whether to upgrade the packages of the base image."
  default     = true
}

variable "image_name" {
  type        = string
  description = "Name of the image. For an AMI, the operating system, architecture and time are appended."
  default     = "golden"
  validation {
    condition     = var.image_name != "" && regex_replace(var.image_name, "^[A-Za-z0-9][A-Za-z0-9._-]{2,79}$", "") == ""
    error_message = "The image_name must have 3 to 80 letters, digits, dots, dashes and underscores, and begin with a letter or a digit."
  }
}

variable "git_revision" {
  type        = string
  description = "Revision of the repository, for the tags and the attestation."
  default     = "unknown"
  validation {
    condition     = var.git_revision != "" && regex_replace(var.git_revision, "^[A-Za-z0-9][A-Za-z0-9._+/-]{0,99}$", "") == ""
    error_message = "The git_revision must be a commit, tag or branch, such as the output of `git rev-parse HEAD`."
  }
}

variable "output_directory" {
  type        = string
  description = "Directory for the manifest, the attestation and golden.qcow2. For the qemu source, it must not exist yet."
  default     = "output"
  validation {
    condition     = var.output_directory != ""
    error_message = "The output_directory must be a path."
  }
}

variable "http_proxy" {
  type        = string
  description = "Proxy for the downloads of the builder. It is not kept in the image."
  default     = ""
  validation {
    condition     = regex_replace(var.http_proxy, "^(https?://[^@ ]+)?$", "") == ""
    error_message = "The http_proxy must be an http:// or https:// URL without a password."
  }
}

# The amazon-ebs source.

variable "os" {
  type        = string
  description = "Operating system: amazon-linux-2023, debian-12 or ubuntu-24.04. The newest base image is used."
  default     = "debian-12"
  validation {
    condition     = contains(["amazon-linux-2023", "debian-12", "ubuntu-24.04"], var.os)
    error_message = "The os must be amazon-linux-2023, debian-12 or ubuntu-24.04."
  }
}

variable "architecture" {
  type        = string
  description = "Architecture of the image: x86_64 or arm64."
  default     = "x86_64"
  validation {
    condition     = contains(["x86_64", "arm64"], var.architecture)
    error_message = "The architecture must be x86_64 or arm64."
  }
}

variable "region" {
  type        = string
  description = "AWS region of the builder and the image."
  default     = "eu-central-1"
  validation {
    condition     = var.region != "" && regex_replace(var.region, "^[a-z]{2}(-[a-z]+)+-[0-9]$", "") == ""
    error_message = "The region must be the name of an AWS region, such as eu-central-1."
  }
}

variable "instance_type" {
  type        = string
  description = "Instance type of the builder. The default is m7i.large or, for arm64, m7g.large."
  default     = ""
}

variable "root_volume_gib" {
  type        = number
  description = "Size of the root volume in GiB. Instances cannot use a smaller one."
  default     = 8
  validation {
    condition     = var.root_volume_gib >= 8 && var.root_volume_gib <= 16384
    error_message = "The root_volume_gib must be from 8 to 16384: the base images need 8 GiB."
  }
}

variable "subnet_id" {
  type        = string
  description = "Subnet of the builder. Without this and subnet_tags, one of the default VPC is used."
  default     = ""
}

variable "subnet_tags" {
  type        = map(string)
  description = "Tags that select the subnet of the builder. Of several, the one with the most free addresses is used."
  default     = {}
}

variable "security_group_id" {
  type        = string
  description = "Security group of the builder. The default is a temporary one."
  default     = ""
}

variable "public_address" {
  type        = bool
  description = "Whether the builder gets a public address. The default is that of the subnet."
  default     = null
}

variable "connect_with" {
  type        = string
  description = "How Packer connects to the builder: session_manager, or ssh with a temporary key."
  default     = "session_manager"
  validation {
    condition     = contains(["session_manager", "ssh"], var.connect_with)
    error_message = "The connect_with must be session_manager or ssh."
  }
}

variable "ssh_from" {
  type        = list(string)
  description = "CIDR blocks that the temporary security group allows if connect_with is ssh. The default is every address."
  default     = []
}

variable "iam_instance_profile" {
  type        = string
  description = "Instance profile of the builder, which must allow Session Manager. The default for session_manager is a temporary one."
  default     = ""
}

variable "kms_key_id" {
  type        = string
  description = "KMS key of the image. The default is aws/ebs. Shared images need a key of your own."
  default     = ""
}

variable "copy_to_regions" {
  type        = list(string)
  description = "Other regions to copy the image to."
  default     = []
}

variable "copy_kms_key_ids" {
  type        = map(string)
  description = "KMS key for each region of copy_to_regions. The default is aws/ebs of that region."
  default     = {}
}

variable "share_with_accounts" {
  type        = list(string)
  description = "Accounts that may launch the image. Requires kms_key_id, with a key policy that allows them."
  default     = []
}

variable "share_with_organizations" {
  type        = list(string)
  description = "ARNs of organizations that may launch the image. Requires kms_key_id, with a key policy that allows them."
  default     = []
}

variable "deprecate_after_days" {
  type        = number
  description = "Days until the image is deprecated and no longer listed. 0 means never."
  default     = 90
  validation {
    condition     = var.deprecate_after_days >= 0 && var.deprecate_after_days <= 3650
    error_message = "The deprecate_after_days must be from 0 (never) to 3650: EC2 allows at most ten years."
  }
}

variable "protect_from_deregistration" {
  type        = bool
  description = "Whether to enable deregistration protection, with a cooldown of one day."
  default     = false
}

variable "tags" {
  type        = map(string)
  description = "Additional tags for the image, its snapshots, the builder and its volumes."
  default     = {}
}

# The qemu source.

variable "base_image" {
  type        = string
  description = "Path or URL of a bootable disk image on which ssh_username can log in with ssh_private_key_file."
  default     = ""
}

variable "base_image_checksum" {
  type        = string
  description = "Checksum of base_image, such as sha256:…"
  default     = "none"
  validation {
    condition     = regex_replace(var.base_image_checksum, "^(none|sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$", "") == ""
    error_message = "The base_image_checksum must be none, or sha256: or sha512: followed by the digest."
  }
}

variable "accelerator" {
  type        = string
  description = "Accelerator of QEMU: kvm, or tcg if KVM is not available."
  default     = "kvm"
  validation {
    condition     = contains(["kvm", "tcg"], var.accelerator)
    error_message = "The accelerator must be kvm or tcg."
  }
}

variable "cpus" {
  type        = number
  description = "Number of virtual CPUs of the builder."
  default     = 2
  validation {
    condition     = var.cpus >= 1 && var.cpus <= 64
    error_message = "The cpus must be from 1 to 64."
  }
}

variable "memory_mib" {
  type        = number
  description = "Memory of the builder in MiB."
  default     = 1024
  validation {
    condition     = var.memory_mib >= 512
    error_message = "The memory_mib must be 512 or more."
  }
}

variable "disk_size" {
  type        = string
  description = "Size of the disk of the image, such as 8G. The default is that of base_image. Partitions are not resized."
  default     = ""
  validation {
    condition     = regex_replace(var.disk_size, "^([1-9][0-9]*[MGT])?$", "") == ""
    error_message = "The disk_size must be a number followed by M, G or T, such as 8G."
  }
}

variable "ssh_username" {
  type        = string
  description = "User to log in as: root, or a user that can run sudo without a password."
  default     = "root"
  validation {
    condition     = var.ssh_username != ""
    error_message = "The ssh_username must be a user of base_image."
  }
}

variable "ssh_private_key_file" {
  type        = string
  description = "Private key for the login to base_image."
  default     = ""
}

# Every variable, for both sources. Give them by -var or -var-file, or as PKR_VAR_… in the environment.
#
# Packer 1.6 has no `regex`, and its `can` takes the absence of a function for a mismatch: patterns are tested by
# `regex_replace`, which leaves nothing of what matches as a whole.

# What goes in.

variable "ingot_binary" {
  type        = string
  description = "Path of the ingot binary on this machine, of the image's architecture."
  validation {
    condition     = var.ingot_binary != ""
    error_message = "The ingot_binary has to be a path: build one with `cargo dist`."
  }
}

variable "ingot_sha256" {
  type        = string
  description = "SHA-256 of ingot_binary, from where it was built. The builder installs no other."
  validation {
    condition     = var.ingot_sha256 != "" && regex_replace(var.ingot_sha256, "^[0-9a-f]{64}$", "") == ""
    error_message = "The ingot_sha256 has to be 64 lower-case hexadecimal digits: take what sha256sum prints for the binary."
  }
}

variable "ingot_version" {
  type        = string
  description = "Version of ingot_binary, for the tags of the image."
  default     = "unknown"
}

variable "application" {
  type        = string
  description = "Directory of the application; packer/application unless given."
  default     = ""
}

variable "patch" {
  type        = bool
  description = "Whether the packages of the base image are brought up to date."
  default     = true
}

variable "image_name" {
  type        = string
  description = "Name of the image. An AMI's has operating system, architecture and time behind it."
  default     = "golden"
  validation {
    condition     = var.image_name != "" && regex_replace(var.image_name, "^[A-Za-z0-9][A-Za-z0-9._-]{2,79}$", "") == ""
    error_message = "The image_name has to be 3 to 80 letters, digits, dots, dashes and underscores, the first a letter or a digit."
  }
}

variable "git_revision" {
  type        = string
  description = "Revision of the repository that this is built from, for tags and attestation."
  default     = "unknown"
  validation {
    condition     = var.git_revision != "" && regex_replace(var.git_revision, "^[A-Za-z0-9][A-Za-z0-9._+/-]{0,99}$", "") == ""
    error_message = "The git_revision has to be a commit, tag or branch: give the output of `git rev-parse HEAD`."
  }
}

variable "output_directory" {
  type        = string
  description = "Directory for manifest and attestation, and for golden.qcow2. For the qemu source it must not exist."
  default     = "output"
  validation {
    condition     = var.output_directory != ""
    error_message = "The output_directory has to be a path."
  }
}

variable "http_proxy" {
  type        = string
  description = "Proxy through which the builder fetches packages. It does not stay in the image."
  default     = ""
  validation {
    condition     = regex_replace(var.http_proxy, "^(https?://[^@ ]+)?$", "") == ""
    error_message = "The http_proxy has to be a URL with http:// or https://, without a password."
  }
}

# The amazon-ebs source.

variable "os" {
  type        = string
  description = "What the image is made from: amazon-linux-2023, debian-12 or ubuntu-24.04, always the newest of it."
  default     = "debian-12"
  validation {
    condition     = contains(["amazon-linux-2023", "debian-12", "ubuntu-24.04"], var.os)
    error_message = "The os has to be amazon-linux-2023, debian-12 or ubuntu-24.04."
  }
}

variable "architecture" {
  type        = string
  description = "Architecture of the image: x86_64 or arm64."
  default     = "x86_64"
  validation {
    condition     = contains(["x86_64", "arm64"], var.architecture)
    error_message = "The architecture has to be x86_64 or arm64."
  }
}

variable "region" {
  type        = string
  description = "AWS region of the builder and of the image."
  default     = "eu-central-1"
  validation {
    condition     = var.region != "" && regex_replace(var.region, "^[a-z]{2}(-[a-z]+)+-[0-9]$", "") == ""
    error_message = "The region has to be the name of an AWS region, such as eu-central-1."
  }
}

variable "instance_type" {
  type        = string
  description = "Type of the builder; m7i.large or m7g.large unless given."
  default     = ""
}

variable "root_volume_gib" {
  type        = number
  description = "Size of the root volume, in GiB. No instance can have a smaller one."
  default     = 8
  validation {
    condition     = var.root_volume_gib >= 8 && var.root_volume_gib <= 16384
    error_message = "The root_volume_gib has to be from 8 to 16384: the base images need 8."
  }
}

variable "subnet_id" {
  type        = string
  description = "Subnet of the builder; one of the default VPC unless this or subnet_tags is given."
  default     = ""
}

variable "subnet_tags" {
  type        = map(string)
  description = "Tags of subnets; of those that have them, the one with the most free addresses."
  default     = {}
}

variable "security_group_id" {
  type        = string
  description = "Security group of the builder; a temporary one unless given."
  default     = ""
}

variable "public_address" {
  type        = bool
  description = "Whether the builder gets a public address; as the subnet says unless given."
  default     = null
}

variable "connect_with" {
  type        = string
  description = "How Packer reaches the builder: session_manager, or ssh with a key that is made for this build."
  default     = "session_manager"
  validation {
    condition     = contains(["session_manager", "ssh"], var.connect_with)
    error_message = "The connect_with has to be session_manager or ssh."
  }
}

variable "ssh_from" {
  type        = list(string)
  description = "Networks (CIDR) that the temporary security group lets in, for connect_with = ssh; everybody unless given."
  default     = []
}

variable "iam_instance_profile" {
  type        = string
  description = "Instance profile of the builder, which allows Session Manager; a temporary one for session_manager unless given."
  default     = ""
}

variable "kms_key_id" {
  type        = string
  description = "KMS key of the image; aws/ebs unless given. An image that is shared needs one."
  default     = ""
}

variable "copy_to_regions" {
  type        = list(string)
  description = "Further regions that the image is copied to."
  default     = []
}

variable "copy_kms_key_ids" {
  type        = map(string)
  description = "KMS key of each region in copy_to_regions; aws/ebs of that region unless given."
  default     = {}
}

variable "share_with_accounts" {
  type        = list(string)
  description = "Accounts that may launch the image. They need kms_key_id, and its key policy has to let them."
  default     = []
}

variable "share_with_organizations" {
  type        = list(string)
  description = "ARNs of organizations that may launch the image. They need kms_key_id, and its key policy has to let them."
  default     = []
}

variable "deprecate_after_days" {
  type        = number
  description = "Days until the image counts as deprecated, and is listed no more; 0 is never."
  default     = 90
  validation {
    condition     = var.deprecate_after_days >= 0 && var.deprecate_after_days <= 3650
    error_message = "The deprecate_after_days has to be from 0, for never, to 3650: EC2 allows ten years."
  }
}

variable "protect_from_deregistration" {
  type        = bool
  description = "Whether the image can be deregistered only a day after this protection is taken from it."
  default     = false
}

variable "tags" {
  type        = map(string)
  description = "Further tags of image, snapshots, builder and its volumes."
  default     = {}
}

# The qemu source.

variable "base_image" {
  type        = string
  description = "Path or URL of a disk that boots by itself and lets ssh_username in by ssh_private_key_file."
  default     = ""
}

variable "base_image_checksum" {
  type        = string
  description = "Checksum of base_image, such as sha256:…"
  default     = "none"
  validation {
    condition     = regex_replace(var.base_image_checksum, "^(none|sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$", "") == ""
    error_message = "The base_image_checksum has to be sha256: or sha512: and the digits, or none."
  }
}

variable "accelerator" {
  type        = string
  description = "What runs the builder: kvm, or tcg where there is no KVM."
  default     = "kvm"
  validation {
    condition     = contains(["kvm", "tcg"], var.accelerator)
    error_message = "The accelerator has to be kvm or tcg."
  }
}

variable "cpus" {
  type        = number
  description = "Processors of the builder."
  default     = 2
  validation {
    condition     = var.cpus >= 1 && var.cpus <= 64
    error_message = "The cpus have to be from 1 to 64."
  }
}

variable "memory_mib" {
  type        = number
  description = "Memory of the builder, in MiB."
  default     = 1024
  validation {
    condition     = var.memory_mib >= 512
    error_message = "The memory_mib has to be 512 or more."
  }
}

variable "disk_size" {
  type        = string
  description = "Size of the image's disk, such as 8G; that of base_image unless given. Its partitions stay as they are."
  default     = ""
  validation {
    condition     = regex_replace(var.disk_size, "^([1-9][0-9]*[MGT])?$", "") == ""
    error_message = "The disk_size has to be a number and M, G or T, such as 8G."
  }
}

variable "ssh_username" {
  type        = string
  description = "User of base_image: root, or one that may use sudo without a password."
  default     = "root"
  validation {
    condition     = var.ssh_username != ""
    error_message = "The ssh_username has to be a user of base_image."
  }
}

variable "ssh_private_key_file" {
  type        = string
  description = "Private key that lets in to base_image."
  default     = ""
}

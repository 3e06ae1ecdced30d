# Bakes an AMI of Amazon Linux 2023, Debian 12 or Ubuntu 24.04, for x86_64 or arm64.
#
# The builder and the image accept IMDSv2 only. The volume is encrypted from the first write, so no encrypting copy is
# made, unless other regions have their own keys. Packer connects through Session Manager, or by SSH with a temporary
# Ed25519 key.

locals {
  # Names and owners as the distributions publish them:
  #   https://docs.aws.amazon.com/linux/al2023/ug/ec2.html
  #   https://wiki.debian.org/Cloud/AmazonEC2Image/Bookworm
  #   https://documentation.ubuntu.com/aws/aws-how-to/instances/find-ubuntu-images/
  base_images = {
    "amazon-linux-2023" = {
      owner       = "137112412989"
      name        = "al2023-ami-2023.*-kernel-6.1-${var.architecture}"
      user        = "ec2-user"
      root_device = "/dev/xvda"
    }
    "debian-12" = {
      owner       = "136693071363"
      name        = "debian-12-${local.debian_architecture}-*"
      user        = "admin"
      root_device = "/dev/xvda"
    }
    "ubuntu-24.04" = {
      owner       = "099720109477"
      name        = "ubuntu/images/hvm-ssd-gp3/ubuntu-noble-24.04-${local.debian_architecture}-server-*"
      user        = "ubuntu"
      root_device = "/dev/sda1"
    }
  }
  base_image          = local.base_images[var.os]
  debian_architecture = var.architecture == "arm64" ? "arm64" : "amd64"
  instance_type       = var.instance_type != "" ? var.instance_type : (var.architecture == "arm64" ? "m7g.large" : "m7i.large")

  session_manager = var.connect_with == "session_manager"
  # Without your own profile, a temporary one is created that allows Session Manager only.
  temporary_profile = local.session_manager && var.iam_instance_profile == ""

  # The images of Debian do not include the Systems Manager agent.
  agent         = "https://s3.${var.region}.amazonaws.com/amazon-ssm-${var.region}/latest/debian_${local.debian_architecture}/amazon-ssm-agent.deb"
  install_agent = "#!/bin/sh\nset -eu\ncd /run\npython3 -c 'import sys, urllib.request; urllib.request.urlretrieve(*sys.argv[1:])' ${local.agent} agent.deb\ndpkg --install agent.deb\nrm agent.deb\n"

  is_shared = length(var.share_with_accounts) + length(var.share_with_organizations) > 0
  # Encrypt the copies for the keys of other regions. Also set for a shared image without a key, which other accounts
  # could not start: Packer then fails before it launches anything.
  encrypts_copy = length(var.copy_kms_key_ids) > 0 || (local.is_shared && (var.kms_key_id == "" || length(var.copy_to_regions) > 0))

  tags = {
    "Name"                    = var.image_name
    "ingot:sha256"            = var.ingot_sha256
    "ingot:version"           = var.ingot_version
    "ingot:source-image"      = "{{ .SourceAMI }}"
    "ingot:source-image-name" = "{{ .SourceAMIName }}"
    "ingot:git-revision"      = var.git_revision
    "ingot:build-time"        = formatdate("YYYY-MM-DD'T'hh:mm:ssZ", timestamp())
    "ingot:os"                = var.os
    "ingot:architecture"      = var.architecture
  }
}

source "amazon-ebs" "golden" {
  region          = var.region
  ami_name        = "${var.image_name}-${var.os}-${var.architecture}-${formatdate("YYYYMMDD-hhmmss", timestamp())}"
  ami_description = "Golden image ${var.image_name}: ${var.os}, ${var.architecture}, ingot, revision ${var.git_revision}"

  source_ami_filter {
    filters = {
      name                = local.base_image.name
      architecture        = var.architecture
      root-device-type    = "ebs"
      virtualization-type = "hvm"
      state               = "available"
    }
    owners      = [local.base_image.owner]
    most_recent = true
  }

  # The builder.

  instance_type                         = local.instance_type
  shutdown_behavior                     = "terminate"
  subnet_id                             = var.subnet_id == "" ? null : var.subnet_id
  security_group_id                     = var.security_group_id == "" ? null : var.security_group_id
  associate_public_ip_address           = var.public_address
  temporary_security_group_source_cidrs = length(var.ssh_from) > 0 ? var.ssh_from : null
  user_data                             = var.os == "debian-12" && local.session_manager ? local.install_agent : null

  dynamic "subnet_filter" {
    for_each = length(var.subnet_tags) > 0 ? [var.subnet_tags] : []
    content {
      filters   = { for key, value in subnet_filter.value : "tag:${key}" => value }
      most_free = true
    }
  }

  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }

  launch_block_device_mappings {
    device_name           = local.base_image.root_device
    volume_type           = "gp3"
    volume_size           = var.root_volume_gib
    encrypted             = true
    kms_key_id            = var.kms_key_id == "" ? null : var.kms_key_id
    delete_on_termination = true
  }

  communicator              = "ssh"
  ssh_username              = local.base_image.user
  ssh_interface             = local.session_manager ? "session_manager" : (var.public_address == true ? "public_ip" : null)
  ssh_timeout               = "10m"
  ssh_clear_authorized_keys = true
  temporary_key_pair_type   = "ed25519"
  iam_instance_profile      = var.iam_instance_profile == "" ? null : var.iam_instance_profile

  dynamic "temporary_iam_instance_profile_policy_document" {
    for_each = local.temporary_profile ? ["Allow"] : []
    content {
      Version = "2012-10-17"
      Statement {
        Effect = temporary_iam_instance_profile_policy_document.value
        Action = [
          "ssm:UpdateInstanceInformation",
          "ssmmessages:CreateControlChannel",
          "ssmmessages:CreateDataChannel",
          "ssmmessages:OpenControlChannel",
          "ssmmessages:OpenDataChannel",
        ]
        Resource = ["*"]
      }
    }
  }

  run_tags        = merge(var.tags, local.tags, { "Name" = "packer: ${var.image_name}" })
  run_volume_tags = merge(var.tags, local.tags, { "Name" = "packer: ${var.image_name}" })

  # The image.

  imds_support       = "v2.0"
  ena_support        = true
  encrypt_boot       = local.encrypts_copy ? true : null
  kms_key_id         = local.encrypts_copy && var.kms_key_id != "" ? var.kms_key_id : null
  ami_regions        = var.copy_to_regions
  region_kms_key_ids = local.encrypts_copy ? merge({ for region in var.copy_to_regions : region => "" }, var.copy_kms_key_ids) : null
  ami_users          = var.share_with_accounts
  ami_org_arns       = var.share_with_organizations
  snapshot_users     = var.share_with_accounts
  tags               = merge(var.tags, local.tags)
  snapshot_tags      = merge(var.tags, local.tags)
  deprecate_at       = var.deprecate_after_days == 0 ? null : formatdate("YYYY-MM-DD'T'hh:mm:ssZ", timeadd(timestamp(), "${var.deprecate_after_days * 24}h"))

  deregistration_protection {
    enabled       = var.protect_from_deregistration
    with_cooldown = var.protect_from_deregistration
  }

  # At most 40 minutes, because copies to other regions take long.
  aws_polling {
    delay_seconds = 15
    max_attempts  = 160
  }
}

# The plugins that `packer init` installs. This is a separate file because Packer 1.6, which Debian packages, includes
# the plugins and rejects the block. With it, bake from a copy of this directory without this file.

packer {
  required_version = ">= 1.9.0"
  required_plugins {
    amazon = {
      source  = "github.com/hashicorp/amazon"
      version = ">= 1.4.0, < 2.0.0"
    }
    qemu = {
      source  = "github.com/hashicorp/qemu"
      version = ">= 1.1.0, < 2.0.0"
    }
  }
}

//! Why user data could not be read.

use std::error::Error;
use std::fmt;

use super::bounds::{MAX_LAYERS, MAX_UNWRAPPED};
use crate::failure::Failure;

/// An encoding of user data that ingot decodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    Gzip,
    Zstd,
    Base64,
    QuotedPrintable,
}

impl fmt::Display for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::Base64 => "base64",
            Self::QuotedPrintable => "quoted-printable",
        })
    }
}

/// Why user data could not be read. `part` is the name as in [`Part`](crate::document::encoding::part::Part).
///
/// Neither a variant nor its source quotes the content, which may hold secrets.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EncodingError {
    #[error("{part} is wrapped in gzip, zstd or base64 more than {most} times", most = MAX_LAYERS)]
    TooDeep { part: String },

    #[error("{part} is larger than {} MiB once unwrapped, which is the limit for user data", MAX_UNWRAPPED >> 20)]
    TooLarge { part: String },

    #[error("{part} is {encoding} that is damaged or cut short")]
    Corrupt {
        part: String,
        encoding: Encoding,
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },

    #[error("{part} is not UTF-8 at byte {offset}")]
    NotText { part: String, offset: usize },

    #[error("{part} is empty")]
    Empty { part: String },

    #[error("{part} is {what}, which ingot does not read")]
    Unread { part: String, what: &'static str },

    #[error("{part} is a broken MIME message: {why}")]
    BrokenMessage { part: String, why: &'static str },
}

impl Failure for EncodingError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::TooDeep { part } => {
                format!("encode {part} once: `gzip` or `zstd`, then base64 if the tool that sends it does not do that itself")
            }
            Self::TooLarge { part } => {
                format!(
                    "move large content of {part} into a bundle in S3; if zstd wrote it, compress with level 19 or lower and without --long"
                )
            }
            Self::Corrupt { encoding: Encoding::Gzip, .. } => {
                "create it again with `gzip --stdout FILE`, and send the bytes unchanged".into()
            }
            Self::Corrupt { encoding: Encoding::Zstd, .. } => {
                "create it again with `zstd --stdout FILE`, and send the bytes unchanged".into()
            }
            Self::Corrupt { encoding: Encoding::Base64, .. } => {
                "encode it again with `base64 --wrap=0 FILE`, and send the whole output".into()
            }
            Self::Corrupt { encoding: Encoding::QuotedPrintable, .. } => {
                "send the part as it is, with `Content-Transfer-Encoding: 8bit`".into()
            }
            Self::NotText { part, .. } => format!("save {part} as UTF-8"),
            Self::Empty { .. } => "launch the instance with a boot document that begins with `#ingot`, or without any user data".into(),
            Self::Unread { what: "UTF-16" | "UTF-32", part } => format!("save {part} as UTF-8"),
            Self::Unread { what: "a program", .. } => "send a boot document, or a script that installs the program".into(),
            Self::Unread { .. } => "compress it with gzip or zstd, or send it as it is".into(),
            Self::BrokenMessage { .. } => "make it with `cloud-init devel make-mime` or Terraform's cloudinit_config, not by hand".into(),
        })
    }
}

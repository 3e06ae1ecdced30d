//! Classifies a blob of user data: boot documents, a cloud-config that may contain one, data for another program, or a
//! mistake.
//!
//! [`recognise`] decodes gzip, zstd and base64 ([`unwrap`]) and then looks, in this order, for `#ingot` before the
//! first line of content ([`marker`]), for `text/x-ingot` parts of a MIME message ([`mime`]), and for the forms that
//! cloud-init knows ([`beginnings`]). Everything else was most likely meant for ingot, so it is an error, or a document
//! with a [`Slip`]. The same holds for content that [`claims`] recognizes as ingot's in a place where ingot does not
//! read it. Damaged data is an error and never means "no document": an instance must not come up without its document
//! because of a bad copy.
//!
//! This module does not parse documents and does not fetch anything.

mod beginnings;
mod bounds;
mod claims;
mod error;
mod marker;
mod mime;
mod part;
mod slip;
mod unread;
mod unwrap;

#[cfg(test)]
mod tests;

use std::fmt;

use self::beginnings::{BYTE_ORDER_MARK, CLOUD_CONFIG, MARKER, begins_with, for_cloud_init};
use self::bounds::MAX_UNWRAPPED;
use self::marker::Head;
use self::part::readable;

pub(crate) use self::claims::in_cloud_config;
pub(crate) use self::error::EncodingError;
pub(crate) use self::part::{Part, WHOLE};
pub(crate) use self::slip::Slip;
pub(crate) use self::unwrap::as_far_as_it_goes;

/// The content of user data.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum UserData {
    /// Boot documents in their order: one for `#ingot`, one for each `text/x-ingot` part of a MIME message, and one for
    /// each text that was meant as one.
    Documents(Vec<Part>),
    /// A `#cloud-config`, with or without a top-level `ingot:` key.
    CloudConfig(String),
    /// Data that is clearly for another program. `what` says what it looks like, without quoting it.
    Other { what: &'static str },
}

impl fmt::Debug for UserData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Documents(parts) => f.debug_tuple("Documents").field(parts).finish(),
            Self::CloudConfig(text) => write!(f, "CloudConfig({} bytes)", text.len()),
            Self::Other { what } => write!(f, "Other({what})"),
        }
    }
}

/// Classifies `bytes`, as they came from IMDS or a file.
///
/// # Errors
///
/// Every [`EncodingError`] means that user data was intended for some program but did not arrive whole, or exceeds a
/// limit. The boot must not continue without it.
pub(crate) fn recognise(bytes: &[u8]) -> Result<UserData, EncodingError> {
    let whole = unwrap::unwrap(bytes, MAX_UNWRAPPED).map_err(|fault| fault.of(WHOLE))?.bytes;
    let content = whole.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&whole);

    if content.trim_ascii().is_empty() {
        Err(EncodingError::Empty { part: WHOLE.to_owned() })
    } else if begins_with(content, MARKER) || marker::head(readable(content)) == Head::Marked {
        Ok(UserData::Documents(vec![Part::read(WHOLE, &whole)?]))
    } else if mime::is_message(content) {
        Ok(match mime::documents(content, MAX_UNWRAPPED)? {
            parts if parts.is_empty() => UserData::Other { what: "a MIME message without a text/x-ingot part" },
            parts => UserData::Documents(parts),
        })
    } else if for_cloud_init(content) == Some(CLOUD_CONFIG) {
        Ok(UserData::CloudConfig(Part::read(WHOLE, &whole)?.text))
    } else if let Some(what) = for_others(content) {
        let text = readable(content);
        Ok(match claims::in_other(what, text) {
            Some(slip) => UserData::Documents(vec![Part { name: WHOLE.to_owned(), text: text.to_owned(), slip: Some(slip) }]),
            None => UserData::Other { what },
        })
    } else {
        let mut part = Part::read(WHOLE, &whole)?;
        part.slip = Some(part.slip.take().unwrap_or_else(|| claims::unmarked(&part.text)));
        Ok(UserData::Documents(vec![part]))
    }
}

/// The text of `bytes` without its encodings, if it is neither a MIME message nor a cloud-config.
pub(crate) fn plain(bytes: &[u8]) -> Option<String> {
    let whole = unwrap::unwrap(bytes, MAX_UNWRAPPED).ok()?.bytes;
    let content = whole.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&whole);
    if mime::is_message(content) || for_cloud_init(content) == Some(CLOUD_CONFIG) {
        return None;
    }
    Part::read(WHOLE, &whole).ok().filter(|part| part.slip.is_none()).map(|part| part.text)
}

/// The name of content for another program that an instance may run in addition to ingot.
fn for_others(content: &[u8]) -> Option<&'static str> {
    for_cloud_init(content).or_else(|| claims::is_node_config(readable(content)).then_some("an EKS NodeConfig"))
}

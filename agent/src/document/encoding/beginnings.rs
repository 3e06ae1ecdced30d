//! The first bytes of each form of user data.

pub(super) const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The line that marks user data as a boot document.
pub(super) const MARKER: &str = "#ingot";

/// The prefixes of user data for cloud-init, and what each means.
///
/// Source: `INCLUSION_TYPES_MAP` of cloud-init, `cloudinit/handlers/__init__.py`. cloud-init ignores case and leading
/// white space.
const CLOUD_INIT: [(&str, &str); 10] = [
    ("#!", SCRIPT),
    ("#cloud-config", CLOUD_CONFIG),
    ("#cloud-config-archive", ARCHIVE),
    ("#cloud-config-jsonp", PATCH),
    ("#cloud-boothook", "a cloud boothook"),
    ("#include", "a cloud-init include list"),
    ("#include-once", "a cloud-init include list"),
    ("#part-handler", "a cloud-init part handler"),
    ("#upstart-job", "an upstart job"),
    ("## template:", TEMPLATE),
];

pub(super) const SCRIPT: &str = "a shell script";
pub(super) const CLOUD_CONFIG: &str = "a #cloud-config";
pub(super) const ARCHIVE: &str = "a cloud-config archive";
pub(super) const PATCH: &str = "a JSON patch of a cloud-config";
pub(super) const TEMPLATE: &str = "a cloud-init template";

/// The kind of content for cloud-init; `None` if the content begins with none of cloud-init's prefixes.
pub(super) fn for_cloud_init(content: &[u8]) -> Option<&'static str> {
    let content = content.trim_ascii_start();
    let goes_on = |beginning: &str| {
        let next = content.get(beginning.len()).copied().unwrap_or_default();
        beginning.ends_with(|last: char| last.is_ascii_alphabetic()) && (next.is_ascii_alphanumeric() || next == b'-')
    };
    let found = CLOUD_INIT.iter().find(|(beginning, _)| begins_ignoring_case(content, beginning) && !goes_on(beginning));
    found.map(|(_, what)| *what)
}

/// Whether the first line is `marker`, optionally followed by white space and a remark.
///
/// cloud-init reads `#cloud-config # web` the same way, while `#cloud-config-archive` is a different form.
pub(super) fn begins_with(content: &[u8], marker: &str) -> bool {
    content.strip_prefix(marker.as_bytes()).is_some_and(|rest| rest.first().is_none_or(u8::is_ascii_whitespace))
}

/// Whether a MIME header begins here.
pub(super) fn begins_as_message(line: &[u8]) -> bool {
    ["mime-version:", "content-type:"].iter().any(|name| begins_ignoring_case(line, name))
}

fn begins_ignoring_case(content: &[u8], beginning: &str) -> bool {
    content.get(..beginning.len()).is_some_and(|start| start.eq_ignore_ascii_case(beginning.as_bytes()))
}

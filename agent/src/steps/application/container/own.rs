//! The names of the images that ingot makes. Pure.

use std::path::Path;

/// Registry and first name component of every image that ingot makes.
pub(super) const OURS: &str = "localhost/ingot";

/// The name of the image that an application builds from a release, or from a service of the release.
pub(super) fn image_of(application: &str, release: &Path, service: Option<&str>) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    let plain = |text: &str, most: usize| -> String { text.chars().map(|c| if is_plain(c) { c } else { '_' }).take(most).collect() };
    let directory = release.file_name().unwrap_or_default().to_string_lossy();
    // A tag has at most 128 characters.
    let tag = match service {
        None => plain(&directory, 120),
        Some(service) => format!("{}-{}", plain(&directory, 80), plain(service, 40)),
    };
    format!("{OURS}/{}:r{tag}", application.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_image_of_a_release_has_a_name_of_its_own() {
        assert_eq!(image_of("Shop", "/opt/shop/releases/shop-1.2+a".as_ref(), None), "localhost/ingot/shop:rshop-1.2_a");
    }
}

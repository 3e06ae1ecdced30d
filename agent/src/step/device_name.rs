//! Device names for AttachVolume.
//!
//! On Nitro the kernel does not use the name, but EC2 requires one that no other volume of the instance has.
//!
//! Source: <https://docs.aws.amazon.com/ebs/latest/userguide/device_naming.html>

/// The common form of all spellings of a name: `/dev/sdf`, `sdf` and `/dev/xvdf` are the same.
pub(crate) fn bare(name: &str) -> String {
    let name = name.trim_start_matches("/dev/");
    match name.strip_prefix("xvd") {
        // /dev/xvdba has no other spelling.
        Some(letter) if letter.len() == 1 => format!("sd{letter}"),
        _ => name.to_owned(),
    }
}

/// All names, with those that AWS recommends for data first.
pub(crate) fn candidates() -> impl Iterator<Item = String> {
    let single = ('f'..='p').chain('b'..='e').map(|letter| format!("/dev/sd{letter}"));
    let double = ('b'..='d').flat_map(|first| ('a'..='x').map(move |second| format!("/dev/xvd{first}{second}")));
    single.chain(double)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_name_are_one() {
        for name in ["/dev/sdf", "sdf", "/dev/xvdf", "xvdf"] {
            assert_eq!(bare(name), "sdf");
        }
        assert_eq!(bare("/dev/xvdba"), "xvdba");
    }

    #[test]
    fn begins_with_the_names_for_data_and_has_enough() {
        let all: Vec<String> = candidates().collect();
        assert_eq!(all[..2], ["/dev/sdf", "/dev/sdg"]);
        assert_eq!(all[14..16], ["/dev/sde", "/dev/xvdba"]);
        assert!(all.len() > 80, "an instance may have more volumes than that: {}", all.len());
    }
}

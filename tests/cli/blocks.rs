//! Generated blocks of a page: between `<!-- KIND: NAME -->` and `<!-- end -->`.

use std::collections::BTreeSet;

const END: &str = "<!-- end -->";

/// The kind and the name of the block that a line opens.
fn opens(line: &str) -> Option<(&str, &str)> {
    line.strip_prefix("<!-- ")?.strip_suffix(" -->")?.split_once(": ")
}

/// The names of all blocks of one kind.
pub(crate) fn described(page: &str, kind: &str) -> BTreeSet<String> {
    page.lines().filter_map(opens).filter(|(known, _)| *known == kind).map(|(_, name)| name.to_owned()).collect()
}

/// A page with the content of each block replaced.
pub(crate) fn with_blocks(page: &str, content: impl Fn(&str, &str) -> String) -> String {
    let mut made = String::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        made.push_str(line);
        made.push('\n');
        if let Some((kind, name)) = opens(line) {
            assert!(lines.any(|line| line == END), "the block `{line}` has no `{END}`");
            made.push_str(&format!("\n{}\n{END}\n", content(kind, name)));
        }
    }
    made
}

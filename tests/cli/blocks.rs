//! Blocks of a page that are generated: between `<!-- KIND: NAME -->` and `<!-- end -->`.

use std::collections::BTreeSet;

const END: &str = "<!-- end -->";

/// What a line opens: the kind of the block, and what it is of.
fn opens(line: &str) -> Option<(&str, &str)> {
    line.strip_prefix("<!-- ")?.strip_suffix(" -->")?.split_once(": ")
}

/// What the blocks of one kind are of.
pub(crate) fn described(page: &str, kind: &str) -> BTreeSet<String> {
    page.lines().filter_map(opens).filter(|(known, _)| *known == kind).map(|(_, name)| name.to_owned()).collect()
}

/// A page with the content of each block made anew.
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

//! Reads a path as it is written: `values.domain`, `files.[/etc/motd].path`, `../name`, `@index`, `this`.
//!
//! The parser has already accepted the path; this only splits it. The parsed path of the `handlebars` crate is not
//! sufficient: it drops every `this`, and therefore the difference between `name` and `this.name`.

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Written {
    /// Starts with `@root`.
    pub(super) root: bool,
    /// Is one of `@index`, `@key`, `@first`, `@last`.
    pub(super) local: bool,
    /// The number of `../` at its start.
    pub(super) up: usize,
    /// Starts with `this` or `./`, so it cannot refer to a block parameter.
    pub(super) this: bool,
    pub(super) segments: Vec<String>,
}

impl Written {
    pub(super) fn parse(written: &str) -> Self {
        let mut path = Self::default();
        let mut rest = written;
        if let Some(after) = strip_word(rest, "this") {
            (path.this, rest) = (true, after);
        } else if let Some(after) = rest.strip_prefix("./") {
            (path.this, rest) = (true, after);
        }
        if let Some(after) = strip_word(rest, "@root") {
            (path.root, rest) = (true, after);
        } else if let Some(after) = rest.strip_prefix('@') {
            (path.local, rest) = (true, after);
        }
        while let Some(after) = rest.strip_prefix("../").or_else(|| rest.strip_prefix("...")) {
            (path.up, rest) = (path.up + 1, after);
        }
        // `../this` means what a bare `..` would mean, which the grammar does not allow.
        if let Some(after) = strip_word(rest, "this").filter(|_| path.up > 0) {
            rest = after;
        }
        while !rest.is_empty() {
            let segment;
            (segment, rest) = match rest.strip_prefix('[').and_then(|inner| inner.split_once(']')) {
                Some(bracketed) => bracketed,
                None => rest.split_at(rest.find(['.', '/']).unwrap_or(rest.len())),
            };
            rest = rest.strip_prefix(['.', '/']).unwrap_or(rest);
            path.segments.push(segment.to_owned());
        }
        path
    }
}

/// The text after `word` and the separator that follows it.
fn strip_word<'a>(text: &'a str, word: &str) -> Option<&'a str> {
    let after = text.strip_prefix(word)?;
    if after.is_empty() { Some(after) } else { after.strip_prefix(['.', '/']) }
}

/// Whether `character` may occur in a segment without brackets.
pub(super) fn is_symbol(character: char) -> bool {
    character.is_ascii_alphanumeric() || "-_$:".contains(character) || character >= '\u{80}'
}

/// The byte offset of the path or name `token` in `source`, at or after `from`, where it is not part of a longer word.
pub(super) fn find(source: &str, token: &str, from: usize) -> Option<usize> {
    let joins = |character: char| is_symbol(character) || "./@[]\"'".contains(character);
    let rest = source.get(from..)?;
    rest.match_indices(token).map(|(at, _)| from + at).find(|&at| {
        let before = source[..at].chars().next_back();
        let after = source[at + token.len()..].chars().next();
        !before.is_some_and(joins) && !after.is_some_and(joins)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_a_path_apart() {
        let segments = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
        for (written, expected) in [
            ("values.domain", Written { segments: segments(&["values", "domain"]), ..Written::default() }),
            ("values/domain", Written { segments: segments(&["values", "domain"]), ..Written::default() }),
            ("files.[/etc/a.b].path", Written { segments: segments(&["files", "/etc/a.b", "path"]), ..Written::default() }),
            ("[a b].[]", Written { segments: segments(&["a b", ""]), ..Written::default() }),
            ("hosts.0.[1]", Written { segments: segments(&["hosts", "0", "1"]), ..Written::default() }),
            ("this", Written { this: true, ..Written::default() }),
            ("this.name", Written { this: true, segments: segments(&["name"]), ..Written::default() }),
            ("./name", Written { this: true, segments: segments(&["name"]), ..Written::default() }),
            ("thistle.x", Written { segments: segments(&["thistle", "x"]), ..Written::default() }),
            ("../name", Written { up: 1, segments: segments(&["name"]), ..Written::default() }),
            ("../../this", Written { up: 2, ..Written::default() }),
            ("../this.name", Written { up: 1, segments: segments(&["name"]), ..Written::default() }),
            ("@root.values", Written { root: true, segments: segments(&["values"]), ..Written::default() }),
            ("@root", Written { root: true, ..Written::default() }),
            ("@index", Written { local: true, segments: segments(&["index"]), ..Written::default() }),
            ("@../index", Written { local: true, up: 1, segments: segments(&["index"]), ..Written::default() }),
        ] {
            assert_eq!(Written::parse(written), expected, "{written}");
        }
    }

    #[test]
    fn finds_a_token_only_where_it_stands_alone() {
        let source = "{{a.bc}} {{a.b.c}} {{toml a.b}}";
        assert_eq!(find(source, "a.b", 0), Some(26));
        assert_eq!(find(source, "b", 0), None);
    }
}

//! The line `#ingot`, and common mistakes in writing it.
//!
//! The marker is the first line that is neither empty nor a comment. YAML treats it as a comment, so a misspelled
//! marker would cause the whole document to be ignored; therefore a line that resembles the marker is reported.

use super::beginnings::{MARKER, begins_with, for_cloud_init};
use super::slip::Slip;

/// The result of reading the lines before the content.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Head {
    Marked,
    /// No line is the marker, but this one was meant as it.
    Slip(Slip),
    Unmarked,
}

/// Reads the lines of `text` up to the first one that is neither empty nor a comment.
pub(super) fn head(text: &str) -> Head {
    let mut slip = None;
    let mut content = None;
    for (index, line) in text.lines().enumerate() {
        if begins_with(line.as_bytes(), MARKER) {
            return Head::Marked;
        }
        let trimmed = line.trim_matches(is_blank);
        if !trimmed.is_empty() && (!trimmed.starts_with('#') || for_cloud_init(trimmed.as_bytes()).is_some()) {
            content = Some(index);
            break;
        }
        slip = slip.or_else(|| slip_of(line, index + 1));
    }
    let late = || {
        let start = content?;
        let line = start + text.lines().skip(start).position(|line| line.trim_end() == MARKER)? + 1;
        let hint = "move `#ingot` to the top: only empty lines and comments may come before it";
        let slip = Slip::at((line, 1), "the marker `#ingot` comes after the first line of the document", hint);
        Some(Slip { only_unmarked: true, ..slip })
    };
    slip.or_else(late).map_or(Head::Unmarked, Head::Slip)
}

/// The mistake in a comment that was meant as the marker.
fn slip_of(line: &str, number: usize) -> Option<Slip> {
    let comment = line.trim_matches(is_blank);
    let column = 1 + line.chars().take_while(|character| is_blank(*character)).count();
    if begins_with(comment.as_bytes(), MARKER) {
        let hint = "write `#ingot` at the start of its line; in Terraform, `<<-` removes the indentation of a heredoc";
        return Some(Slip::at((number, column), "the marker `#ingot` is not at the start of its line", hint));
    }
    let (before, word, after) = first_word(comment)?;
    let slips = slips_to_ingot(word);
    let (glued, alone) = (!before.contains(is_blank), !after.contains(char::is_alphanumeric));
    if slips > 1 && !(slips == 2 && glued && alone) {
        return None;
    }
    let message = format!("`{}` is not the marker `#ingot`", shown(comment));
    let slip = Slip::at((number, column), message, "write the line as `#ingot`, in lower case and without a space");
    // A comment such as `# ingot`, or `# ingot reads this before user data`, is allowed in a layer.
    Some(Slip { only_unmarked: !glued, ..slip })
}

/// The first word of a line, and the text before and after it.
fn first_word(line: &str) -> Option<(&str, &str, &str)> {
    let (before, rest) = line.split_at(line.find(char::is_alphanumeric)?);
    let (word, after) = rest.split_at(rest.find(|character: char| !character.is_alphanumeric()).unwrap_or(rest.len()));
    Some((before, word, after))
}

/// In how many letters the first word of a line differs from `ingot`.
pub(super) fn slips_in(line: &str) -> usize {
    first_word(line).map_or(usize::MAX, |(_, word, _)| slips_to_ingot(word))
}

/// In how many letters a word differs from `ingot`, ignoring case.
pub(super) fn slips_to_ingot(word: &str) -> usize {
    /// The longest word that is compared, in bytes. No longer word resembles `ingot`, and comparing a line of megabytes
    /// would take gigabytes.
    const LONGEST: usize = 32;

    if word.len() > LONGEST {
        return usize::MAX;
    }
    strsim::damerau_levenshtein(&word.to_lowercase(), "ingot")
}

/// White space and invisible characters.
fn is_blank(character: char) -> bool {
    character.is_whitespace() || matches!(character, '\u{200b}'..='\u{200d}' | '\u{2060}' | '\u{feff}')
}

/// A piece of user data in a form suitable for a message: short and on one line.
pub(super) fn shown(text: &str) -> String {
    const MOST: usize = 40;
    let mut shown: String = text.chars().filter(|character| !character.is_control()).take(MOST).collect();
    if text.chars().count() > MOST {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The head in one word, or the position and message of the slip, with a star if a layer may have such a line.
    fn read(text: &str) -> String {
        match head(text) {
            Head::Marked => "marked".into(),
            Head::Unmarked => "unmarked".into(),
            Head::Slip(slip) => {
                format!("{}:{} {}{}", slip.line, slip.column, slip.objection.message, if slip.only_unmarked { " *" } else { "" })
            }
        }
    }

    #[test]
    fn the_marker_is_the_first_line_that_is_neither_empty_nor_a_comment() {
        for text in [
            "#ingot",
            "#ingot\r\nversion: 1\r\n",
            "#ingot version 1\n",
            "#ingot\tweb",
            "\n\n#ingot\n",
            " \t\r\n#ingot\n",
            "# Managed by Terraform\n\n  # web\n#ingot\n",
            "# ingot\n#ingot\n",
            "#included by Terraform\n#ingot\n",
        ] {
            assert_eq!(read(text), "marked", "{text:?}");
        }
        for text in ["", "\n", "# a comment\n", "version: 1\n", "# info\n", "# init\n", "# in going\n", "#\n", "---\n", "#!/bin/sh\n"] {
            assert_eq!(read(text), "unmarked", "{text:?}");
        }
    }

    #[test]
    fn a_line_that_comes_near_is_named() {
        let indented = "the marker `#ingot` is not at the start of its line";
        let late = "the marker `#ingot` comes after the first line of the document";
        for (text, expected) in [
            (" #ingot\n", format!("1:2 {indented}")),
            ("\t#ingot web\n", format!("1:2 {indented}")),
            ("\u{a0}#ingot\n", format!("1:2 {indented}")),
            ("\u{200b}#ingot\n", format!("1:2 {indented}")),
            ("# web\n    #ingot\n    version: 1\n", format!("2:5 {indented}")),
            ("# ingot\n", "1:1 `# ingot` is not the marker `#ingot` *".into()),
            ("#Ingot\n", "1:1 `#Ingot` is not the marker `#ingot`".into()),
            ("#INGOT\r\n", "1:1 `#INGOT` is not the marker `#ingot`".into()),
            ("#ingot:\n", "1:1 `#ingot:` is not the marker `#ingot`".into()),
            ("#ingot, version 1\n", "1:1 `#ingot, version 1` is not the marker `#ingot`".into()),
            ("##ingot\n", "1:1 `##ingot` is not the marker `#ingot`".into()),
            ("#ignot\n", "1:1 `#ignot` is not the marker `#ingot`".into()),
            ("#ingots\n", "1:1 `#ingots` is not the marker `#ingot`".into()),
            ("#inngott\n", "1:1 `#inngott` is not the marker `#ingot`".into()),
            ("# ingot: a layer\n", "1:1 `# ingot: a layer` is not the marker `#ingot` *".into()),
            ("version: 1\n#ingot\n", format!("2:1 {late} *")),
            ("---\n#ingot\n", format!("2:1 {late} *")),
            ("#!/bin/sh\n#ingot\n", format!("2:1 {late} *")),
            ("#cloud-config\n#ingot\n", format!("2:1 {late} *")),
        ] {
            assert_eq!(read(text), expected, "{text:?}");
        }
    }
}

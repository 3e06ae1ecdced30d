//! Checks that `java.util.Properties` can read a text: it accepts nearly anything, but throws on a `\u` without four
//! digits.

/// The number of a line, counted from 1, and what is wrong with it.
pub(super) type Mistake = (usize, &'static str);

/// # Errors
///
/// The first line that it cannot read, or a text whose last line ends with a continuation.
pub(super) fn check(text: &str) -> Result<(), Mistake> {
    let mut goes_on = false;
    for (index, line) in text.lines().enumerate() {
        let comment = !goes_on && line.trim_start().starts_with(['#', '!']);
        goes_on = !comment && ends_in_an_escape(line).ok_or((index + 1, "has a `\\u` without four hexadecimal digits"))?;
    }
    if goes_on { Err((text.lines().count(), "ends with a backslash, and no line follows")) } else { Ok(()) }
}

/// Whether the last character of a line is a backslash that escapes the line break. `None` if the line has an invalid
/// escape.
fn ends_in_an_escape(line: &str) -> Option<bool> {
    let mut rest = line.chars();
    while let Some(character) = rest.next() {
        if character != '\\' {
            continue;
        }
        match rest.next() {
            None => return Some(true),
            Some('u') => (0..4).try_for_each(|_| rest.next().filter(char::is_ascii_hexdigit).map(drop))?,
            Some(_) => {}
        }
    }
    Some(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_as_java_does() {
        for text in ["", "# \\u\n! \\uX\na=b\nc : d\\\n  e\n\\ f\\=\\u00fC\ng\n", "a=\\\\\nb=\\\\u\n", "a=b\\\r\n  c\r\n"] {
            assert_eq!(check(text), Ok(()), "{text:?}");
        }
        for (text, line) in [("a=1\nb=\\u00g0", 2), ("a=\\u12", 1), ("a=b\\\n# \\u", 2), ("a=1\nb=c\\", 2)] {
            assert_eq!(check(text).unwrap_err().0, line, "{text:?}");
        }
    }
}

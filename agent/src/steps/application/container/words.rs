//! Splits the command of a container's process into words, so that no image needs a shell. Pure.

/// Splits a line into words as a shell does: at blanks, except within quotes and after a backslash.
///
/// # Errors
///
/// If a quote is not closed.
pub(crate) fn words(line: &str) -> Result<Vec<String>, &'static str> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None::<char>);
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        match (character, quote) {
            (end, Some(open)) if end == open => quote = None,
            ('\\', None | Some('"')) => word.get_or_insert_default().extend(characters.next()),
            ('"' | '\'', None) => {
                quote = Some(character);
                word.get_or_insert_default();
            }
            (blank, None) if blank.is_whitespace() => words.extend(word.take()),
            _ => word.get_or_insert_default().push(character),
        }
    }
    words.extend(word);
    if quote.is_some() { Err("has a quote that does not end") } else { Ok(words) }
}

/// Replaces `$NAME` and `${NAME}` by the variable's value, or by nothing if it is not set, and `$$` by a dollar sign.
pub(crate) fn expanded(word: &str, value: &dyn Fn(&str) -> Option<String>) -> String {
    let (mut out, mut rest) = (String::new(), word);
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        let braced = after.strip_prefix('{').and_then(|inner| inner.split_once('}'));
        let length = after.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(after.len());
        (rest, _) = match (after.strip_prefix('$'), braced, length) {
            (Some(rest), ..) => (rest, out.push('$')),
            (None, Some((name, rest)), _) => (rest, out.push_str(&value(name).unwrap_or_default())),
            (None, None, 0) => (after, out.push('$')),
            (None, None, length) => (&after[length..], out.push_str(&value(&after[..length]).unwrap_or_default())),
        };
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_those_of_a_shell() {
        assert_eq!(
            words(r#"bin/shop  --port "$PORT" 'a b' c\ d "e\"f" '' "#).unwrap(),
            ["bin/shop", "--port", "$PORT", "a b", "c d", "e\"f", ""]
        );
        assert!(words("sh -c 'x").is_err() && words("").unwrap().is_empty());
    }

    #[test]
    fn variables_are_filled_in() {
        let value = |name: &str| (name == "PORT").then(|| "8080".to_owned());
        for (word, is) in
            [("$PORT", "8080"), ("a${PORT}b", "a8080b"), ("$$PORT", "$PORT"), ("$NONE-", "-"), ("5$", "5$"), ("${PORT", "${PORT")]
        {
            assert_eq!(expanded(word, &value), is, "{word}");
        }
    }
}

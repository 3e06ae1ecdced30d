//! Reads variables from an environment file that ingot has written for systemd: the inverse of
//! [`environment_value`](super::env::environment_value).

/// The variables of a file, each consisting of a name, an `=`, and a value with or without double quotes.
pub(crate) fn environment_variables(file: &str) -> Vec<(String, String)> {
    let (mut variables, mut rest) = (Vec::new(), file);
    while let Some((name, after)) = rest.split_once('=') {
        let (value, after) = match after.strip_prefix('"') {
            Some(quoted) => unquoted(quoted),
            None => after.split_once('\n').map_or((after.to_owned(), ""), |(value, after)| (value.to_owned(), after)),
        };
        variables.push((name.trim_start().to_owned(), value));
        rest = after;
    }
    variables
}

/// The text before the closing quote, and the rest after it.
fn unquoted(text: &str) -> (String, &str) {
    let (mut value, mut characters) = (String::new(), text.chars());
    while let Some(character) = characters.next() {
        match character {
            '"' => break,
            '\\' => value.extend(characters.next()),
            _ => value.push(character),
        }
    }
    (value, characters.as_str())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::template::environment_value;

    proptest! {
        #[test]
        fn every_value_comes_back(values in proptest::collection::vec("[ -~\\n\u{e9}]{0,20}", 0..4)) {
            let mut file = "PORT=15000\n".to_owned();
            for (at, value) in values.iter().enumerate() {
                file += &format!("NAME_{at}={}\n", environment_value(value).unwrap().expose());
            }
            let expected = [("PORT".to_owned(), "15000".to_owned())].into_iter();
            let expected = expected.chain(values.into_iter().enumerate().map(|(at, value)| (format!("NAME_{at}"), value)));
            prop_assert_eq!(environment_variables(&file), expected.collect::<Vec<_>>());
        }
    }
}

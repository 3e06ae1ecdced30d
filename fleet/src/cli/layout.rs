//! Tables and sentences within the width of a terminal.
//!
//! If a table does not fit, its notes move below its rows, then its cells are shortened. A row is never wrapped.

use comfy_table::{ContentArrangement, Table};
use dialoguer::console::{measure_text_width, truncate_str};

use super::paint::{Line, on_a_line};
use crate::story::Color;

/// Indentation of what belongs to the line above.
const INDENT: &str = "  ";

/// One row.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) cells: Vec<String>,
    /// A remark, such as a cause.
    pub(super) note: Option<String>,
    pub(super) color: Option<Color>,
}

/// The lines of a table. `width` is that of the terminal, if there is one; `rows` makes the rows, and shortens them
/// more with each of `steps` steps.
pub(super) fn table(header: &[&str], width: Option<usize>, steps: usize, rows: impl Fn(usize) -> Vec<Row>) -> Vec<Line> {
    let full = rows(0);
    let beside = laid_out(header, &full, true);
    let Some(width) = width else { return beside };
    let fits = |lines: &[Line]| lines.iter().all(|line| measure_text_width(&line.text) <= width);
    if fits(&beside) {
        return beside;
    }
    let last = steps.saturating_sub(1);
    for step in 0..=last {
        let rows = rows(step);
        let mut lines = laid_out(header, &rows, false);
        if fits(&lines) || step == last {
            lines.iter_mut().for_each(|line| line.text = shortened(&line.text, Some(width)));
            return with_notes(lines, &rows, width);
        }
    }
    beside
}

fn laid_out(header: &[&str], rows: &[Row], has_notes: bool) -> Vec<Line> {
    let has_notes = has_notes && rows.iter().any(|row| row.note.is_some());
    let mut table = Table::new();
    table.load_preset(comfy_table::presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header.iter().copied().chain(has_notes.then_some("CAUSE")));
    for row in rows {
        let note = has_notes.then(|| row.note.as_deref().unwrap_or_default());
        table.add_row(row.cells.iter().map(String::as_str).chain(note).map(on_a_line));
    }
    let colors = std::iter::once(None).chain(rows.iter().map(|row| row.color));
    table.lines().zip(colors).map(|(line, color)| Line { text: line.trim().to_owned(), color }).collect()
}

/// The first line is the header.
fn with_notes(lines: Vec<Line>, rows: &[Row], width: usize) -> Vec<Line> {
    let mut all = Vec::new();
    let notes = std::iter::once(None).chain(rows.iter().map(|row| row.note.as_deref()));
    for (line, note) in lines.into_iter().zip(notes) {
        let color = line.color;
        all.push(line);
        let note = note.map(on_a_line);
        all.extend(note.into_iter().flat_map(|note| wrapped(&format!("{INDENT}{note}"), Some(width))).map(|text| Line { text, color }));
    }
    all
}

/// A text on one line, cut off at the width of the terminal.
pub(super) fn shortened(text: &str, width: Option<usize>) -> String {
    width.map_or_else(|| text.to_owned(), |width| truncate_str(text, width, "…").into_owned())
}

/// A sentence on as many lines as it takes, each with its indentation. A word that is longer than a line is not split:
/// it may be a URL.
pub(super) fn wrapped(text: &str, width: Option<usize>) -> Vec<String> {
    let Some(width) = width else { return vec![text.to_owned()] };
    let indent = &text[..text.len() - text.trim_start().len()];
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in text.split_whitespace() {
        let is_first = line.is_empty();
        if !is_first && measure_text_width(&line) + 1 + measure_text_width(word) > width {
            lines.push(std::mem::take(&mut line));
        }
        line.push_str(if line.is_empty() { indent } else { " " });
        line.push_str(word);
    }
    lines.push(line);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(width: Option<usize>) -> String {
        let made = |step: usize| {
            let image = if step == 0 { "ami-0123456789abcdef0" } else { "ami-0123…" };
            let row =
                |id: &str, note: Option<&str>| Row { cells: vec![id.into(), image.into()], note: note.map(str::to_owned), color: None };
            vec![row("i-1", None), row("i-2", Some("Health checks failed\nwith these codes: [503]"))]
        };
        let lines = table(&["INSTANCE", "IMAGE"], width, 2, made);
        lines.into_iter().map(|line| line.text).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn a_table_fits_if_it_can() {
        insta::assert_snapshot!("table_beside", lines(None));
        assert_eq!(lines(Some(200)), lines(None));
        insta::assert_snapshot!("table_beneath", lines(Some(40)));
        insta::assert_snapshot!("table_narrow", lines(Some(20)));
    }

    #[test]
    fn sentences_are_wrapped_between_words() {
        assert_eq!(wrapped("  a bc def ghij", Some(6)), ["  a bc", "  def", "  ghij"]);
        assert_eq!(wrapped("s3://long/key of it", Some(5)), ["s3://long/key", "of it"]);
        assert_eq!(wrapped("a b", None), ["a b"]);
        assert_eq!(wrapped("", Some(5)), [""]);
    }
}

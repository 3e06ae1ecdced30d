//! Boots as an SVG: one dot per boot, by start time and duration, in one strip per release.
//!
//! A failed boot is a cross, so that it can be told apart without color. Every element has its color as an attribute,
//! for viewers without support for style sheets; the details of a dot are in its `<title>`.

use std::fmt::Write as _;

use jiff::Timestamp;

use crate::story::{Boot, Of, Sum, sums};

/// All lengths are in pixels.
const WIDTH: f64 = 1200.0;
const MARGIN: f64 = 16.0;
/// Widths of the column of names, and of the column of times.
const NAMES: f64 = 260.0;
const TIMES: f64 = 70.0;
/// Height of a strip, and of the gap below it.
const STRIP: f64 = 120.0;
const GAP: f64 = 28.0;
const DOT: f64 = 3.5;
/// The longest name that fits into its column, in characters.
const LONGEST: usize = 34;

const FONTS: &str = "ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace";
const INK: &str = "#1b1f24";
const SOFT: &str = "#666677";
const LINE: &str = "#d5dae0";
const GOOD: &str = "#2f6db5";
const BAD: &str = "#b3261e";

/// Draws the boots.
pub(super) fn svg(stack: &str, boots: &[(Of, Boot)]) -> String {
    let sums = sums(boots);
    let height = MARGIN * 2.0 + 40.0 + sums.len().max(1) as f64 * (STRIP + GAP);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"{FONTS}\" font-size=\"12\">\n<rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#ffffff\"/>\n"
    );
    text(&mut out, (MARGIN, MARGIN + 14.0), INK, &format!("Boots of {stack}: {}", boots.len()));
    text(&mut out, (MARGIN, MARGIN + 32.0), SOFT, "a dot is a boot, a cross is a failed boot, and the line is the median");
    let times = boots.iter().map(|(_, boot)| boot.began);
    let (Some(first), Some(last)) = (times.clone().min(), times.max()) else {
        text(&mut out, (MARGIN, MARGIN + 60.0), SOFT, "no boot has left evidence");
        return out + "</svg>\n";
    };
    let longest = boots.iter().map(|(_, boot)| boot.took).fold(1.0, f64::max);
    let across = Across { first, last };
    let mut top = MARGIN + 40.0 + GAP / 2.0;
    for sum in &sums {
        strip(&mut out, sum, top, longest);
        for (_, boot) in boots.iter().filter(|(of, _)| *of == sum.of) {
            dot(&mut out, boot, (across.x(boot.began), top + STRIP * (1.0 - boot.took / longest)));
        }
        top += STRIP + GAP;
    }
    let left = MARGIN + NAMES + TIMES;
    text(&mut out, (left, top - GAP / 2.0 + 10.0), SOFT, &first.strftime("%Y-%m-%d %H:%M").to_string());
    let end = last.strftime("%Y-%m-%d %H:%M UTC").to_string();
    text(&mut out, (WIDTH - MARGIN - end.len() as f64 * 7.3, top - GAP / 2.0 + 10.0), SOFT, &end);
    out + "</svg>\n"
}

/// The time axis.
struct Across {
    first: Timestamp,
    last: Timestamp,
}

impl Across {
    fn x(&self, at: Timestamp) -> f64 {
        let whole = (self.last.as_second() - self.first.as_second()).max(1) as f64;
        let left = MARGIN + NAMES + TIMES + DOT * 2.0;
        left + (WIDTH - MARGIN - DOT * 2.0 - left) * (at.as_second() - self.first.as_second()) as f64 / whole
    }
}

fn strip(out: &mut String, sum: &Sum, top: f64, longest: f64) {
    let left = MARGIN + NAMES + TIMES;
    let name: String = sum.of.release.as_deref().unwrap_or("no known release").chars().take(LONGEST).collect();
    text(out, (MARGIN, top + 14.0), INK, &name);
    let image: String = sum.of.image.as_deref().unwrap_or("").chars().take(LONGEST).collect();
    text(out, (MARGIN, top + 32.0), SOFT, &image);
    text(out, (MARGIN, top + 50.0), SOFT, &format!("{} boots, {} failed, {}", sum.boots, sum.failed, sum.of.phase));
    for share in [0.0, 0.5, 1.0] {
        let y = top + STRIP * (1.0 - share);
        line(out, (left, y), (WIDTH - MARGIN, y), LINE, 1.0);
        text(out, (left - TIMES + 4.0, y + 4.0), SOFT, &format!("{:.1}s", longest * share / 1000.0));
    }
    if let Some(times) = sum.times_ms {
        let y = top + STRIP * (1.0 - times.p50 / longest);
        line(out, (left, y), (WIDTH - MARGIN, y), GOOD, 1.5);
    }
}

fn dot(out: &mut String, boot: &Boot, (x, y): (f64, f64)) {
    let slowest = boot.slowest.as_ref().map(|(step, took)| format!(", {step} {:.2}s of it", took / 1000.0)).unwrap_or_default();
    let why = boot.reason.as_deref().map(|reason| format!(": {}", reason.lines().next().unwrap_or_default())).unwrap_or_default();
    let title = escaped(&format!("{} {}: {:.2}s{slowest}{why}", boot.began, boot.instance, boot.took / 1000.0));
    let _ = match boot.reason {
        None => writeln!(
            out,
            "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{DOT}\" fill=\"{GOOD}\" fill-opacity=\"0.6\"><title>{title}</title></circle>"
        ),
        Some(_) => writeln!(
            out,
            "<path d=\"M{:.1} {:.1}l8 8m0 -8l-8 8\" stroke=\"{BAD}\" stroke-width=\"2\" fill=\"none\"><title>{title}</title></path>",
            x - 4.0,
            y - 4.0
        ),
    };
}

fn line(out: &mut String, (x1, y1): (f64, f64), (x2, y2): (f64, f64), color: &str, width: f64) {
    let _ = writeln!(out, "<line x1=\"{x1}\" y1=\"{y1:.1}\" x2=\"{x2}\" y2=\"{y2:.1}\" stroke=\"{color}\" stroke-width=\"{width}\"/>");
}

fn text(out: &mut String, (x, y): (f64, f64), color: &str, text: &str) {
    let _ = writeln!(out, "<text x=\"{x:.1}\" y=\"{y:.1}\" fill=\"{color}\">{}</text>", escaped(text));
}

fn escaped(text: &str) -> String {
    let plain: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    plain.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boot(at: i64, took: f64, reason: Option<&str>) -> (Of, Boot) {
        let of = Of { release: Some("v<1>".into()), image: Some("ami-1".into()), phase: "serve".into() };
        let began = Timestamp::from_second(1_700_000_000 + at).unwrap();
        let (phase, reason) = ("serve".to_owned(), reason.map(str::to_owned));
        (of, Boot { instance: format!("i-{at}"), began, took, phase, reason, slowest: Some(("bundles.app".into(), took / 2.0)) })
    }

    #[test]
    fn each_boot_is_drawn_once_and_within_the_picture() {
        let boots = [boot(0, 1000.0, None), boot(3600, 2000.0, None), boot(7200, 4000.0, Some("services.a: \u{1b}[2J no & never\nmore"))];
        let drawn = svg("shop-prod", &boots);
        assert_eq!((drawn.matches("<circle").count(), drawn.matches("<path").count()), (2, 1));
        assert!(drawn.contains("v&lt;1&gt;") && drawn.contains("no &amp; never") && !drawn.contains('\u{1b}'), "{drawn}");
        let numbers = drawn.match_indices(" cx=\"").map(|(at, _)| drawn[at + 5..].split('"').next().unwrap().parse::<f64>().unwrap());
        assert!(numbers.clone().all(|x| (MARGIN + NAMES..WIDTH - MARGIN).contains(&x)), "{:?}", numbers.collect::<Vec<_>>());
        assert!(is_balanced(&drawn), "{drawn}");
    }

    #[test]
    fn a_plot_without_boots_says_so() {
        assert!(svg("shop-prod", &[]).contains("no boot has left evidence"));
    }

    /// Whether every element that is opened is closed.
    fn is_balanced(text: &str) -> bool {
        let opened = ["svg", "text", "circle", "path", "title"].iter().map(|name| text.matches(&format!("<{name}")).count());
        let closed = ["svg", "text", "circle", "path", "title"].iter().map(|name| text.matches(&format!("</{name}>")).count());
        opened.eq(closed)
    }
}

//! The timeline of a boot as an SVG: a strip for the machine's own start, a lane for each step,
//! a tick for each exchange with IMDS and AWS.
//!
//! Working, waiting and retrying differ by hatching as well as by shade, so that they can be told apart without color.
//! Every element has its color as an attribute, for viewers without style sheets; the style sheet only adds a dark
//! variant. The details of a bar are in its `<title>`, which browsers show as a tooltip.

use std::cmp::Ordering;
use std::fmt::Write as _;

use super::{mark, spoken};
use crate::host::startup::Startup;
use crate::report::{ExchangeReport, IdleKind, Outcome, Report, StepReport};
use crate::sorting::Sort as _;

/// The width of the picture. All lengths are in pixels.
const WIDTH: f64 = 1200.0;
const MARGIN: f64 = 16.0;
/// The width of the column of names.
const NAMES: f64 = 290.0;
/// Space after the longest bar, for the longest label: "running 12345.678 s".
const LABELS: f64 = 145.0;
/// The height of a step's lane.
const LANE: f64 = 22.0;
const BAR: f64 = 14.0;
/// The height of a lane of exchanges.
const TICK: f64 = 8.0;
/// The most lanes for exchanges, which overlap. More lanes than this add nothing.
const TICK_LANES: usize = 12;
/// The width of a character at 12 pixels, in the widest of the fonts.
const CHARACTER: f64 = 7.3;
/// The length of the longest name that fits into its column.
const NAME_LIMIT: usize = 38;

const FONTS: &str = "ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace";

/// The dark variant. A viewer without style sheets or media queries uses the attributes of the elements.
const STYLE: &str = "
@media (prefers-color-scheme: dark) {
  text { fill: #e6e9ee } .soft { fill: #9aa4b1 } .bad { fill: #ff8a80 } .paper { fill: #14181d } .line { stroke: #3a424d }
  .work { fill: #6aa5e8 } .wait { fill: #35506e } .retry { fill: #c98a1b } .machine { fill: #3a4654 } .frame { stroke: #e6e9ee }
  .hatch { stroke: #6aa5e8 } .dots { stroke: #14181d } .failed, .refused { stroke: #ff8a80 } }
";

/// The look of a bar: its class, and the same as attributes.
const WORK: &str = r##"class="work" fill="#2f6db5""##;
const MACHINE: &str = r##"class="machine" fill="#cfd6de""##;
const WAIT: &str = r##"class="wait" fill="#b9cfe8""##;
const RETRY: &str = r##"class="retry" fill="#e0a030""##;
const REFUSED: &str = r##"class="paper refused" fill="#ffffff" stroke="#b3261e" stroke-width="0.75""##;
const FRAME: &str = r##"class="frame" fill="none" stroke="#1b1f24" stroke-width="0.75" pointer-events="none""##;
const FAILED: &str = r##"class="frame failed" fill="none" stroke="#b3261e" stroke-width="2" pointer-events="none""##;

/// The hatching of bars by their look: its slope, and its own look. Not a `<pattern>`, which
/// some viewers do not support.
const HATCHES: [(&str, f64, &str); 3] = [
    (WAIT, 1.0, r##"class="hatch" stroke="#2f6db5" stroke-width="1.5""##),
    (RETRY, 0.0, r##"class="dots" stroke="#ffffff" stroke-width="2.5" stroke-dasharray="2.5 2.5""##),
    (REFUSED, 0.0, r##"class="refused" stroke="#b3261e" stroke-width="1.5""##),
];

/// The distance between two lines of the hatching.
const SPACE: f64 = 6.0;

/// How a text looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Look {
    Plain,
    Soft,
    Bad,
    Title,
}

impl Look {
    fn attributes(self) -> &'static str {
        match self {
            Self::Plain => r##"fill="#1b1f24""##,
            Self::Soft => r##"class="soft" fill="#666677""##,
            Self::Bad => r##"class="bad" fill="#b3261e" font-weight="bold""##,
            Self::Title => r##"fill="#1b1f24" font-size="15" font-weight="bold""##,
        }
    }
}

/// Draws a report.
pub(crate) fn svg(report: &Report) -> String {
    let mut picture = Picture { body: String::new(), y: MARGIN, scale: Scale::of(report.end_ms().max(1.0)) };
    picture.head(report);
    if let Some(startup) = &report.startup {
        picture.machine(startup, report.elapsed_ms);
    }
    let top = picture.y;
    picture.y += LANE;
    picture.exchanges(&report.exchanges);
    for (name, began, ended) in report.phases() {
        picture.name(name, Look::Soft);
        picture.part(began, ended, WORK, &format!("{name}: {}", spoken(ended - began)));
        picture.after(ended, &spoken(ended - began), Look::Soft);
        picture.y += LANE;
    }
    let mut steps: Vec<&StepReport> = report.steps.iter().filter(|step| step.started_ms.is_some()).collect();
    steps.order_by(|a, b| {
        let by_time = (a.started_ms, a.finished_ms).partial_cmp(&(b.started_ms, b.finished_ms));
        by_time.unwrap_or(Ordering::Equal).then_with(|| a.address.cmp(&b.address))
    });
    for step in steps {
        picture.step(step, report.end_ms());
    }
    let skipped: Vec<&str> =
        report.steps.iter().filter(|step| step.outcome == Outcome::Skipped).map(|step| step.address.as_str()).collect();
    if !skipped.is_empty() {
        picture.list("skipped: ", &skipped);
    }
    let grid = picture.grid(top);
    picture.legend();
    let height = picture.y + MARGIN;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"{FONTS}\" font-size=\"12\">\n<style>{STYLE}</style>\n\
         <rect class=\"paper\" width=\"{WIDTH}\" height=\"{height}\" fill=\"#ffffff\"/>\n{grid}{}</svg>\n",
        picture.body
    )
}

/// Milliseconds to pixels.
struct Scale {
    end: f64,
    step: f64,
}

impl Scale {
    /// About eight grid lines, at round times.
    fn of(end: f64) -> Self {
        let rough = end / 8.0;
        let power = 10f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|factor| factor * power).find(|step| *step >= rough).unwrap_or(rough);
        Self { end, step }
    }

    fn x(&self, ms: f64) -> f64 {
        MARGIN + NAMES + self.length(ms)
    }

    fn length(&self, ms: f64) -> f64 {
        ms.max(0.0) / self.end * (WIDTH - 2.0 * MARGIN - NAMES - LABELS)
    }
}

struct Picture {
    body: String,
    /// Where the next lane begins.
    y: f64,
    scale: Scale,
}

impl Picture {
    fn text(&mut self, x: f64, y: f64, look: Look, text: &str) {
        let _ = writeln!(self.body, "<text x=\"{x:.1}\" y=\"{y:.1}\" {}>{}</text>", look.attributes(), escaped(text));
    }

    /// Words separated by commas, on as many lines as they need.
    fn list(&mut self, title: &str, words: &[&str]) {
        let most = ((WIDTH - 2.0 * MARGIN) / CHARACTER) as usize;
        let mut line = title.to_owned();
        for (n, word) in words.iter().enumerate() {
            let word = shortened(word, most / 2);
            let word = if n + 1 < words.len() { format!("{word}, ") } else { word };
            if line.chars().count() + word.trim_end().chars().count() > most {
                self.line(line.trim_end());
                line = " ".repeat(title.len());
            }
            line.push_str(&word);
        }
        self.line(line.trim_end());
    }

    fn line(&mut self, line: &str) {
        let indent = line.len() - line.trim_start().len();
        // Viewers collapse spaces, so the indentation is a position.
        self.text(MARGIN + indent as f64 * CHARACTER, self.y + BAR, Look::Bad, line.trim_start());
        self.y += LANE;
    }

    fn rect(&mut self, (x, y): (f64, f64), (width, height): (f64, f64), look: &str, title: &str) {
        let title = escaped(title);
        let _ = writeln!(
            self.body,
            "<rect x=\"{x:.2}\" y=\"{y:.1}\" width=\"{width:.2}\" height=\"{height}\" {look}><title>{title}</title></rect>"
        );
    }

    /// A bar, with hatching if its look has any.
    fn filled(&mut self, (x, y): (f64, f64), (width, height): (f64, f64), look: &str, title: &str) {
        self.rect((x, y), (width, height), look, title);
        let Some((_, slope, lines)) = HATCHES.into_iter().find(|(of, ..)| *of == look) else { return };
        let mut path = String::new();
        let lean = slope * height;
        let mut at = x - lean + SPACE / 2.0;
        while at < x + width {
            // From the lower edge to the upper one, clipped to the bar.
            let (from, to) = (at.max(x), (at + lean).min(x + width));
            let (low, high) =
                if slope > 0.0 { (y + height - (from - at) / slope, y + height - (to - at) / slope) } else { (y + height, y) };
            let _ = write!(path, "M{from:.1} {low:.1}L{to:.1} {high:.1}");
            at += SPACE;
        }
        if !path.is_empty() {
            let _ = writeln!(self.body, "<path d=\"{path}\" fill=\"none\" {lines} pointer-events=\"none\"/>");
        }
    }

    fn head(&mut self, report: &Report) {
        let instance = report.instance.as_deref().unwrap_or("this machine");
        let outcome = serde_json::to_value(report.outcome).ok().and_then(|word| word.as_str().map(str::to_owned)).unwrap_or_default();
        let title = format!("{instance}: {outcome} in {}", spoken(report.elapsed_ms));
        self.text(MARGIN, self.y + 16.0, Look::Title, &title);
        let about =
            format!("{}, ingot {}, {} steps, {} exchanges", report.started_at, report.ingot, report.steps.len(), report.exchanges.len());
        self.text(MARGIN, self.y + 34.0, Look::Soft, &about);
        self.y += 48.0;
    }

    /// The machine's start as one bar, with a scale of its own.
    fn machine(&mut self, startup: &Startup, took: f64) {
        let before = [("firmware", startup.firmware_ms), ("boot loader", startup.loader_ms)];
        let before = before.into_iter().filter_map(|(name, took)| Some((name, took?)));
        let kernel = startup.initrd_ms.or(startup.userspace_ms).unwrap_or(startup.process_ms);
        let initrd = startup.initrd_ms.and_then(|initrd| Some(startup.userspace_ms? - initrd));
        let userspace = startup.userspace_ms.map(|userspace| startup.process_ms - userspace);
        let after = [("kernel", Some(kernel)), ("initrd", initrd), ("userspace", userspace), ("ingot", Some(took))];
        let parts: Vec<(&str, f64)> = before.chain(after.into_iter().filter_map(|(name, took)| Some((name, took?)))).collect();
        let all = parts.iter().map(|(_, took)| took).sum::<f64>().max(1.0);
        self.name("the machine", Look::Soft);
        let wide = WIDTH - 2.0 * MARGIN - NAMES;
        let mut x = MARGIN + NAMES;
        for (name, took) in &parts {
            let width = took / all * wide;
            let look = if *name == "ingot" { WORK } else { MACHINE };
            self.rect((x, self.y), (width, BAR), look, &format!("{name}: {}", spoken(*took)));
            self.rect((x, self.y), (width, BAR), FRAME, &format!("{name}: {}", spoken(*took)));
            x += width;
        }
        self.y += LANE;
        let told: Vec<String> = parts.iter().map(|(name, took)| format!("{name} {}", spoken(*took))).collect();
        self.text(MARGIN, self.y + 8.0, Look::Soft, &format!("{} = {}", told.join(" + "), spoken(all)));
        self.y += LANE;
    }

    /// Exchanges, in as few lanes as possible without overlap.
    fn exchanges(&mut self, exchanges: &[ExchangeReport]) {
        if exchanges.is_empty() {
            return;
        }
        self.name("IMDS and AWS", Look::Soft);
        let mut ends: Vec<f64> = Vec::new();
        for exchange in exchanges {
            let ended = exchange.at_ms + exchange.took_ms.unwrap_or_default();
            let free = ends.iter().position(|end| *end <= exchange.at_ms);
            let lane = free.unwrap_or(ends.len().min(TICK_LANES - 1));
            if lane == ends.len() {
                ends.push(0.0);
            }
            ends[lane] = ended;
            let answer = exchange.status.map_or_else(|| "no answer".into(), |status| status.to_string());
            let title = format!("{} at {}: {}, {answer}", exchange.what, spoken(exchange.at_ms), spoken(ended - exchange.at_ms));
            let look = if exchange.status.is_some_and(|status| status < 400) { WORK } else { REFUSED };
            let (x, y) = (self.scale.x(exchange.at_ms), self.y + lane as f64 * TICK);
            self.filled((x, y), (self.scale.length(ended - exchange.at_ms).max(1.5), TICK - 2.0), look, &title);
        }
        self.y += (ends.len() as f64 * TICK).max(BAR) + LANE - BAR;
    }

    fn name(&mut self, name: &str, look: Look) {
        self.text(MARGIN, self.y + BAR - 2.0, look, &shortened(name, NAME_LIMIT));
    }

    fn part(&mut self, from: f64, to: f64, look: &str, title: &str) {
        let (x, width) = (self.scale.x(from), self.scale.length(to - from).max(1.0));
        self.filled((x, self.y), (width, BAR), look, title);
    }

    fn after(&mut self, ms: f64, text: &str, look: Look) {
        self.text(self.scale.x(ms) + 5.0, self.y + BAR - 2.0, look, text);
    }

    fn step(&mut self, step: &StepReport, end: f64) {
        let began = step.started_ms.unwrap_or_default();
        let ended = step.finished_ms.unwrap_or(end);
        let failed = step.outcome == Outcome::Failed;
        self.name(step.address.as_str(), if failed { Look::Bad } else { Look::Plain });
        let mut title = format!("{}: {} in {}", step.address, step.outcome.word(), spoken(ended - began));
        for change in &step.changes {
            title.push_str(&format!("\n+ {change}"));
        }
        if let Some(error) = &step.error {
            title.push_str(&format!("\n{}", error.message));
        }
        self.part(began, ended, WORK, &title);
        for idle in &step.idle {
            let (to, look, word) = match idle.kind {
                IdleKind::Waiting => (idle.to_ms.unwrap_or(ended), WAIT, "waiting"),
                IdleKind::Retrying => (idle.to_ms.unwrap_or(ended), RETRY, "before another try"),
            };
            let told = format!("{word} {}: {}", spoken(to - idle.from_ms), idle.why);
            self.part(idle.from_ms, to, look, &told);
        }
        self.part(began, ended, if failed { FAILED } else { FRAME }, &title);
        let told = [mark(step), &spoken(ended - began)].into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
        self.after(ended, &told, if failed { Look::Bad } else { Look::Soft });
        self.y += LANE;
    }

    /// Grid lines at round times, from `top` to here, with the times above them.
    fn grid(&mut self, top: f64) -> String {
        let mut grid = String::new();
        let mut at = 0.0;
        while at <= self.scale.end * 1.0001 {
            let x = self.scale.x(at);
            let label = if at == 0.0 { "0".into() } else { spoken(at).replace(".0 ms", " ms").replace("00 s", " s") };
            let (from, to) = (top + 14.0, self.y);
            let line = "class=\"line\" stroke=\"#d8dce2\"";
            let _ = writeln!(grid, "<line {line} x1=\"{x:.1}\" y1=\"{from:.1}\" x2=\"{x:.1}\" y2=\"{to:.1}\"/>");
            let _ = writeln!(grid, "<text x=\"{x:.1}\" y=\"{:.1}\" {}>{label}</text>", top + 10.0, Look::Soft.attributes());
            at += self.scale.step;
        }
        grid
    }

    fn legend(&mut self) {
        self.y += 8.0;
        let mut x = MARGIN + NAMES;
        for (look, word) in [
            (WORK, "working"),
            (WAIT, "waiting for something outside"),
            (RETRY, "pause before another try"),
            (REFUSED, "exchange refused or unanswered"),
        ] {
            self.filled((x, self.y), (24.0, BAR), look, word);
            self.rect((x, self.y), (24.0, BAR), FRAME, word);
            self.text(x + 30.0, self.y + BAR - 2.0, Look::Soft, word);
            x += 50.0 + CHARACTER * word.len() as f64;
        }
        self.y += LANE;
    }
}

/// Shortens a name to `limit` characters. The end of an address is the most specific part, so it is kept.
fn shortened(name: &str, limit: usize) -> String {
    let length = name.chars().count();
    if length <= limit {
        return name.to_owned();
    }
    let head = limit / 3;
    let tail = name.chars().skip(length - (limit - head - 1));
    name.chars().take(head).chain(['…']).chain(tail).collect()
}

/// Escapes text for XML, without the characters that XML cannot represent.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\n' | '\t' => safe.push(character),
            character if character.is_control() => {}
            character => safe.push(character),
        }
    }
    safe
}

#[cfg(test)]
mod tests;

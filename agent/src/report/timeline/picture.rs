//! The timeline of a boot as an SVG: a strip for the machine's own start, a lane for each step, a tick for each exchange
//! with IMDS and AWS.
//!
//! Working, waiting and retrying differ by pattern besides shade, so that it reads without colour; light and dark follow
//! the reader's own setting. What a bar is stands in its `<title>`, which browsers show under the pointer.

use std::cmp::Ordering;
use std::fmt::Write as _;

use super::{mark, spoken};
use crate::host::startup::Startup;
use crate::report::{ExchangeReport, IdleKind, Outcome, Report, StepReport};

/// All lengths are in pixels.
const WIDTH: f64 = 1200.0;
const MARGIN: f64 = 16.0;
/// The column of names.
const NAMES: f64 = 290.0;
/// A lane of a step.
const LANE: f64 = 22.0;
const BAR: f64 = 14.0;
/// A lane of exchanges.
const TICK: f64 = 8.0;
/// Exchanges go on beside each other; more lanes than this tell nothing more.
const TICK_LANES: usize = 12;
/// The longest name that fits into its column.
const NAME_LIMIT: usize = 42;

const STYLE: &str = "
svg { --ink: #1b1f24; --soft: #667; --line: #d8dce2; --paper: #ffffff; --work: #2f6db5; --wait: #b9cfe8; --retry: #e0a030;
  --bad: #b3261e; --machine: #cfd6de; }
@media (prefers-color-scheme: dark) {
  svg { --ink: #e6e9ee; --soft: #9aa4b1; --line: #3a424d; --paper: #14181d; --work: #6aa5e8; --wait: #35506e; --retry: #c98a1b;
    --bad: #ff8a80; --machine: #3a4654; } }
text { font: 12px ui-monospace, Menlo, Consolas, monospace; fill: var(--ink); }
.soft { fill: var(--soft); } .title { font-size: 15px; font-weight: bold; } .bad { fill: var(--bad); font-weight: bold; }
.paper { fill: var(--paper); } .line { stroke: var(--line); } .work { fill: var(--work); } .machine { fill: var(--machine); }
.frame { fill: none; stroke: var(--ink); stroke-width: 0.75; } .frame.failed { stroke: var(--bad); stroke-width: 2; }
.exchange { fill: var(--work); } .exchange.refused { fill: url(#refused); stroke: var(--bad); stroke-width: 0.75; }
";

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
        picture.name(name, "soft");
        picture.bar(began, ended, "work", &format!("{name}: {}", spoken(ended - began)));
        picture.after(ended, &spoken(ended - began), "soft");
        picture.y += LANE;
    }
    let mut steps: Vec<&StepReport> = report.steps.iter().filter(|step| step.started_ms.is_some()).collect();
    steps.sort_unstable_by(|a, b| {
        let by_time = (a.started_ms, a.finished_ms).partial_cmp(&(b.started_ms, b.finished_ms));
        by_time.unwrap_or(Ordering::Equal).then_with(|| a.address.cmp(&b.address))
    });
    for step in steps {
        picture.step(step, report.end_ms());
    }
    let skipped: Vec<&str> =
        report.steps.iter().filter(|step| step.outcome == Outcome::Skipped).map(|step| step.address.as_str()).collect();
    if !skipped.is_empty() {
        picture.text(MARGIN, picture.y + BAR, "bad", &format!("skipped: {}", skipped.join(", ")));
        picture.y += LANE;
    }
    let grid = picture.grid(top);
    picture.legend();
    let height = picture.y + MARGIN;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" viewBox=\"0 0 {WIDTH} {height}\">\n\
         <style>{STYLE}</style>\n{PATTERNS}<rect class=\"paper\" width=\"100%\" height=\"100%\"/>\n{grid}{}</svg>\n",
        picture.body
    )
}

const PATTERNS: &str = r#"<defs>
<pattern id="wait" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">
<rect width="6" height="6" style="fill: var(--wait)"/><rect width="1.5" height="6" style="fill: var(--work)"/></pattern>
<pattern id="retry" width="6" height="6" patternUnits="userSpaceOnUse">
<rect width="6" height="6" style="fill: var(--retry)"/><circle cx="3" cy="3" r="1.4" style="fill: var(--paper)"/></pattern>
<pattern id="refused" width="3" height="6" patternUnits="userSpaceOnUse">
<rect width="3" height="6" style="fill: var(--paper)"/><rect width="1.5" height="6" style="fill: var(--bad)"/></pattern>
</defs>
"#;

/// Milliseconds to pixels.
struct Scale {
    end: f64,
    step: f64,
}

impl Scale {
    /// About eight lines, at round times.
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
        // What is told behind the last bar needs some room, too.
        ms.max(0.0) / self.end * (WIDTH - 2.0 * MARGIN - NAMES - 90.0)
    }
}

struct Picture {
    body: String,
    /// Where the next lane begins.
    y: f64,
    scale: Scale,
}

impl Picture {
    fn text(&mut self, x: f64, y: f64, class: &str, text: &str) {
        let _ = writeln!(self.body, "<text x=\"{x:.1}\" y=\"{y:.1}\" class=\"{class}\">{}</text>", escaped(text));
    }

    fn rect(&mut self, (x, y): (f64, f64), (width, height): (f64, f64), look: &str, title: &str) {
        let title = escaped(title);
        let _ = writeln!(
            self.body,
            "<rect x=\"{x:.2}\" y=\"{y:.1}\" width=\"{width:.2}\" height=\"{height}\" {look}><title>{title}</title></rect>"
        );
    }

    fn head(&mut self, report: &Report) {
        let instance = report.instance.as_deref().unwrap_or("this machine");
        let outcome = serde_json::to_value(report.outcome).ok().and_then(|word| word.as_str().map(str::to_owned)).unwrap_or_default();
        let title = format!("{instance}: {outcome} in {}", spoken(report.elapsed_ms));
        self.text(MARGIN, self.y + 16.0, "title", &title);
        let about =
            format!("{}, ingot {}, {} steps, {} exchanges", report.started_at, report.ingot, report.steps.len(), report.exchanges.len());
        self.text(MARGIN, self.y + 34.0, "soft", &about);
        self.y += 48.0;
    }

    /// The machine's start as one bar, by a scale of its own.
    fn machine(&mut self, startup: &Startup, took: f64) {
        let before = [("firmware", startup.firmware_ms), ("boot loader", startup.loader_ms)];
        let before = before.into_iter().filter_map(|(name, took)| Some((name, took?)));
        let kernel = startup.initrd_ms.or(startup.userspace_ms).unwrap_or(startup.process_ms);
        let initrd = startup.initrd_ms.and_then(|initrd| Some(startup.userspace_ms? - initrd));
        let userspace = startup.userspace_ms.map(|userspace| startup.process_ms - userspace);
        let after = [("kernel", Some(kernel)), ("initrd", initrd), ("userspace", userspace), ("ingot", Some(took))];
        let parts: Vec<(&str, f64)> = before.chain(after.into_iter().filter_map(|(name, took)| Some((name, took?)))).collect();
        let all: f64 = parts.iter().map(|(_, took)| took).sum();
        self.name("the machine", "soft");
        let wide = WIDTH - 2.0 * MARGIN - NAMES;
        let mut x = MARGIN + NAMES;
        for (name, took) in &parts {
            let width = took / all * wide;
            let class = if *name == "ingot" { "work" } else { "machine" };
            self.rect((x, self.y), (width, BAR), &format!("class=\"{class}\""), &format!("{name}: {}", spoken(*took)));
            self.rect((x, self.y), (width, BAR), "class=\"frame\"", &format!("{name}: {}", spoken(*took)));
            x += width;
        }
        self.y += LANE;
        let told: Vec<String> = parts.iter().map(|(name, took)| format!("{name} {}", spoken(*took))).collect();
        self.text(MARGIN, self.y + 8.0, "soft", &format!("{} = {}", told.join(" + "), spoken(all)));
        self.y += LANE;
    }

    /// Exchanges side by side in as few lanes as they need.
    fn exchanges(&mut self, exchanges: &[ExchangeReport]) {
        if exchanges.is_empty() {
            return;
        }
        self.name("IMDS and AWS", "soft");
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
            let look = if exchange.status.is_some_and(|status| status < 400) { "class=\"exchange\"" } else { "class=\"exchange refused\"" };
            let (x, y) = (self.scale.x(exchange.at_ms), self.y + lane as f64 * TICK);
            self.rect((x, y), (self.scale.length(ended - exchange.at_ms).max(1.5), TICK - 2.0), look, &title);
        }
        self.y += (ends.len() as f64 * TICK).max(BAR) + LANE - BAR;
    }

    fn name(&mut self, name: &str, class: &str) {
        let short: String = match name.char_indices().nth(NAME_LIMIT) {
            Some(_) => name.chars().take(NAME_LIMIT - 1).chain(['…']).collect(),
            None => name.to_owned(),
        };
        self.text(MARGIN, self.y + BAR - 2.0, class, &short);
    }

    fn bar(&mut self, from: f64, to: f64, class: &str, title: &str) {
        self.part(from, to, &format!("class=\"{class}\""), title);
    }

    fn part(&mut self, from: f64, to: f64, look: &str, title: &str) {
        let (x, width) = (self.scale.x(from), self.scale.length(to - from).max(1.0));
        self.rect((x, self.y), (width, BAR), look, title);
    }

    fn after(&mut self, ms: f64, text: &str, class: &str) {
        self.text(self.scale.x(ms) + 5.0, self.y + BAR - 2.0, class, text);
    }

    fn step(&mut self, step: &StepReport, end: f64) {
        let began = step.started_ms.unwrap_or_default();
        let ended = step.finished_ms.unwrap_or(end);
        let failed = step.outcome == Outcome::Failed;
        self.name(step.address.as_str(), if failed { "bad" } else { "" });
        let mut title = format!("{}: {} in {}", step.address, step.outcome.word(), spoken(ended - began));
        for change in &step.changes {
            title.push_str(&format!("\n+ {change}"));
        }
        if let Some(error) = &step.error {
            title.push_str(&format!("\n{}", error.message));
        }
        self.bar(began, ended, "work", &title);
        for idle in &step.idle {
            let (to, pattern, word) = match idle.kind {
                IdleKind::Waiting => (idle.to_ms.unwrap_or(ended), "wait", "waiting"),
                IdleKind::Retrying => (idle.to_ms.unwrap_or(ended), "retry", "before another try"),
            };
            let told = format!("{word} {}: {}", spoken(to - idle.from_ms), idle.why);
            self.part(idle.from_ms, to, &format!("fill=\"url(#{pattern})\""), &told);
        }
        let frame = if failed { "class=\"frame failed\" pointer-events=\"none\"" } else { "class=\"frame\" pointer-events=\"none\"" };
        self.part(began, ended, frame, &title);
        let told = [mark(step), &spoken(ended - began)].into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
        self.after(ended, &told, if failed { "bad" } else { "soft" });
        self.y += LANE;
    }

    /// Lines at round times, from `top` to here, with the times above them.
    fn grid(&mut self, top: f64) -> String {
        let mut grid = String::new();
        let mut at = 0.0;
        while at <= self.scale.end * 1.0001 {
            let x = self.scale.x(at);
            let label = if at == 0.0 { "0".into() } else { spoken(at).replace(".0 ms", " ms").replace("00 s", " s") };
            let _ = writeln!(grid, "<line class=\"line\" x1=\"{x:.1}\" y1=\"{:.1}\" x2=\"{x:.1}\" y2=\"{:.1}\"/>", top + 14.0, self.y);
            let _ = writeln!(grid, "<text class=\"soft\" x=\"{x:.1}\" y=\"{:.1}\">{label}</text>", top + 10.0);
            at += self.scale.step;
        }
        grid
    }

    fn legend(&mut self) {
        self.y += 8.0;
        let mut x = MARGIN + NAMES;
        for (look, word) in [
            ("class=\"work\"", "working"),
            ("fill=\"url(#wait)\"", "waiting for something outside"),
            ("fill=\"url(#retry)\"", "pause before another try"),
            ("fill=\"url(#refused)\"", "exchange refused or unanswered"),
        ] {
            self.rect((x, self.y), (24.0, BAR), look, word);
            self.rect((x, self.y), (24.0, BAR), "class=\"frame\"", word);
            self.text(x + 30.0, self.y + BAR - 2.0, "soft", word);
            x += 50.0 + 7.4 * word.len() as f64;
        }
        self.y += LANE;
    }
}

/// Text as it may stand in XML. What XML has no way to say is left out.
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
mod tests {
    use super::super::tests::report;
    use super::*;

    #[test]
    fn every_step_has_a_lane_and_the_file_is_xml() {
        let picture = svg(&report());
        for step in &report().steps {
            assert!(picture.contains(&format!(">{}</text>", step.address)), "{}", step.address);
        }
        let mut reader = quick_xml::Reader::from_str(&picture);
        let mut titles = 0;
        loop {
            match reader.read_event().unwrap() {
                quick_xml::events::Event::Start(tag) if tag.name().as_ref() == "title" => titles += 1,
                quick_xml::events::Event::Eof => break,
                _ => {}
            }
        }
        assert!(titles > 10, "{titles}");
        assert!(picture.contains("url(#retry)") && picture.contains("url(#wait)") && picture.contains("prefers-color-scheme: dark"));
    }

    #[test]
    fn what_a_report_says_cannot_leave_its_place() {
        let mut report = report();
        report.steps[0].idle[0].why = "</title><script>alert(1)</script>\u{1}".into();
        assert!(!svg(&report).contains("<script"));
    }

    #[test]
    fn lines_stand_at_round_times() {
        assert_eq!((Scale::of(735.0).step, Scale::of(26.9).step, Scale::of(1_200_000.0).step), (100.0, 5.0, 200_000.0));
    }
}

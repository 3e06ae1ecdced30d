//! The timeline is XML that every viewer can draw: with colors as attributes, and with space for every label.

use std::collections::BTreeMap;

use super::super::tests::report;
use super::*;
use crate::address::Address;

/// The name of an element, its attributes, and its text.
type Element = (String, BTreeMap<String, String>, String);

/// Every element of a picture.
fn elements(picture: &str) -> Vec<Element> {
    use quick_xml::events::Event;

    let mut reader = quick_xml::Reader::from_str(picture);
    let (mut found, mut open): (Vec<Element>, bool) = (Vec::new(), false);
    loop {
        let event = reader.read_event().unwrap();
        match &event {
            Event::Start(tag) | Event::Empty(tag) => {
                let attributes = tag.attributes().map(|attribute| {
                    let attribute = attribute.unwrap();
                    (attribute.key.as_ref().to_owned(), attribute.value.to_string())
                });
                found.push((tag.name().as_ref().to_owned(), attributes.collect(), String::new()));
                open = matches!(event, Event::Start(_));
            }
            Event::End(_) => open = false,
            Event::Text(text) if open => found.last_mut().unwrap().2.push_str(&text.xml10_content()),
            Event::GeneralRef(_) if open => found.last_mut().unwrap().2.push('&'),
            Event::Eof => return found,
            _ => {}
        }
    }
}

/// A boot with very long names, lists and times.
fn long() -> Report {
    let mut report = report();
    report.elapsed_ms = 12_345_678.9;
    for (n, step) in report.steps.iter_mut().enumerate() {
        step.address = Address::new("files", &format!("/etc/systemd/system/some-very-long-name-of-a-service.service.d/{n}.conf"));
        step.finished_ms = Some(12_345_678.9);
        step.outcome = Outcome::Failed;
    }
    for n in 0..40 {
        let mut skipped = report.steps[0].clone();
        skipped.address = Address::new("services", &format!("service-{n}-{}.service", "x".repeat(n)));
        (skipped.started_ms, skipped.finished_ms, skipped.outcome) = (None, None, Outcome::Skipped);
        report.steps.push(skipped);
    }
    report
}

#[test]
fn every_label_lies_within_the_picture_and_no_name_reaches_the_bars() {
    for report in [report(), long()] {
        for (name, attributes, text) in elements(&svg(&report)) {
            if name == "text" {
                let size: f64 = attributes.get("font-size").map_or(12.0, |size| size.parse().unwrap());
                let x: f64 = attributes["x"].parse().unwrap();
                let end = x + text.chars().count() as f64 * CHARACTER * size / 12.0;
                assert!(end <= WIDTH, "{text} ends at {end}");
                let is_name = x == MARGIN && (text.starts_with("files.") || text.starts_with("secrets."));
                assert!(!is_name || end <= MARGIN + NAMES, "{text} ends at {end}");
            }
        }
    }
}

/// Regression: viewers such as those in mail programs and wikis do not support variables, and
/// some no style sheets: they drew black bars.
#[test]
fn every_shape_has_its_color_as_an_attribute() {
    let picture = svg(&long());
    assert!(!picture.contains("var(") && !picture.contains("url(") && !picture.contains("<pattern"));
    let (mut shapes, mut depth) = (0, 0);
    for (name, attributes, _) in elements(&picture) {
        match name.as_str() {
            "rect" | "circle" | "text" => assert!(attributes.contains_key("fill"), "{name} {attributes:?}"),
            "line" | "path" => assert!(attributes.contains_key("stroke"), "{attributes:?}"),
            _ => continue,
        }
        let fill = attributes.get("fill").map_or("none", String::as_str);
        assert!(fill == "none" || fill.starts_with('#'), "{fill}");
        (shapes, depth) = (shapes + 1, depth.max(attributes.len()));
    }
    assert!(shapes > 50 && depth > 4, "{shapes}, {depth}");
}

#[test]
fn the_lines_of_a_bar_stay_within_it() {
    let mut picture = Picture { body: String::new(), y: 0.0, scale: Scale::of(1.0) };
    for (look, ..) in HATCHES {
        picture.filled((100.0, 50.0), (31.0, BAR), look, "a bar");
    }
    let paths: Vec<String> = elements(&picture.body).into_iter().filter_map(|(_, mut attributes, _)| attributes.remove("d")).collect();
    assert_eq!(paths.len(), 3);
    for number in paths.iter().flat_map(|path| path.split(['M', 'L'])).filter(|point| !point.is_empty()) {
        let (x, y) = number.split_once(' ').unwrap();
        let (x, y): (f64, f64) = (x.parse().unwrap(), y.parse().unwrap());
        assert!((100.0..=131.0).contains(&x) && (50.0..=50.0 + BAR).contains(&y), "{x} {y}");
    }
}

#[test]
fn a_long_name_keeps_its_end() {
    assert_eq!(shortened("files./etc/shop/shop.toml", 38), "files./etc/shop/shop.toml");
    let short = shortened("files./etc/systemd/system/shop.service.d/10-environment.conf", 38);
    assert_eq!((short.chars().count(), short.as_str()), (38, "files./etc/s…ice.d/10-environment.conf"));
}

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
    assert!(picture.contains(RETRY) && picture.contains(WAIT) && picture.contains("prefers-color-scheme: dark"));
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
